import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { isOnline } from '../../../lib/devices/device.ts'
import { createDevices, type Devices } from '../../../lib/devices/devices.ts'
import { createPresence, type Presence, type SessionEvent } from '../../../lib/devices/presence.ts'
import { PresenceSweep } from '../../../lib/devices/presence-sweep.ts'
import { createLog } from '../../../lib/log.ts'
import { openRegistry, type Registry } from '../../../lib/registry/db.ts'
import { describeRegistry, type Place } from '../../support/registry.ts'

const noon = Date.parse('2026-03-01T12:00:00Z')
const minute = 60_000

let at: Place
let registry: Registry
let devices: Devices
let presence: Presence
/** The clock of `devices`, milliseconds since the epoch. */
let now = noon
const told: number[] = []
let sweep: PresenceSweep
const open = async (place: () => Promise<Place>) => {
  at = await place()
  registry = await openRegistry({ url: at.url })
  await registry.migrate()
  const { db } = registry
  devices = createDevices({
    db,
    log: createLog('silent'),
    now: () => now,
    keyLength: 32,
    offlineAfterS: 300,
    cacheMs: 0,
  })
  presence = createPresence({ db, offlineAfterS: 300, onChange: (id) => told.push(id), now: () => now })
  sweep = new PresenceSweep({ db, offlineAfterS: 300, patienceMs: 0, now: () => now })
}
const close = async () => {
  await devices.close()
  registry.close()
  await at.remove()
}

let made = 0
const newDevice = async () =>
  (await devices.register({ name: `device ${++made}`, deviceType: 'sensor' })).device.id

/** @param at milliseconds after noon. */
type Event = Omit<SessionEvent, 'deviceId' | 'clientId' | 'sessionId'>
const connect = (version: number, at: number): Event => ({ kind: 'connected', version, at: noon + at })
const disconnect = (version: number, at: number, reason?: string): Event => ({
  kind: 'disconnected',
  version,
  at: noon + at,
  reason,
})
const tell = (deviceId: number, event: Event, clientId = String(deviceId)) =>
  presence.session({ deviceId, clientId, sessionId: `session ${event.version}`, ...event })

const openOf = async (id: number) =>
  [...(await presence.clients(id))].filter(([, open]) => open).map(([clientId]) => clientId)

const stateOf = async (id: number, at = minute) => {
  now = noon + at
  const device = await devices.get(id).finally(() => {
    now = noon
  })
  return {
    open: (await openOf(id)).length,
    connectedAt: device.connectedAt === null ? null : device.connectedAt - noon,
    online: isOnline(device, noon + at),
  }
}
const eventsOf = async (id: number) =>
  (await devices.events(id, { limit: 100 }))
    .reverse()
    .filter(({ kind }) => kind !== 'registered')
    .map(({ kind, detail, at }) => ({ kind, detail, at: at - noon }))

const permutations = <T>(items: readonly T[]): T[][] =>
  items.length === 0
    ? [[]]
    : items.flatMap((item, i) => permutations(items.toSpliced(i, 1)).map((rest) => [item, ...rest]))

describeRegistry('presence', (place) => {
  beforeAll(() => open(place))
  afterAll(close)

  describe('session events', () => {
    const first = { begin: connect(1, 1000), end: disconnect(1, 2000) }
    const second = { begin: connect(2, 3000), end: disconnect(2, 4000) }

    it.each(permutations([first.begin, first.end, second.begin]).map((events) => [events]))(
      'leave the second session open in any order: %j',
      async (events) => {
        const id = await newDevice()
        for (const event of events) await tell(id, event)
        expect(await stateOf(id)).toEqual({ open: 1, connectedAt: 3000, online: true })
      },
    )

    it.each(permutations([first.begin, first.end, second.begin, second.end]).map((events) => [events]))(
      'leave none open in any order once both have ended: %j',
      async (events) => {
        const id = await newDevice()
        for (const event of events) await tell(id, event)
        expect(await stateOf(id)).toEqual({ open: 0, connectedAt: null, online: false })
      },
    )

    it.each(
      [3000, 3001, 3050].flatMap((end) =>
        permutations([connect(1, 1000), disconnect(1, end), connect(2, 3000)]).map(
          (events) => [end, events] as const,
        ),
      ),
    )('leave a session open whose predecessor ended at %i: %j', async (_end, events) => {
      const id = await newDevice()
      for (const event of events) await tell(id, event)
      expect(await stateOf(id)).toEqual({ open: 1, connectedAt: 3000, online: true })
    })

    it('property: leave the newest state, in any order and with any repetitions', async () => {
      const history = fc
        .record({ sessions: fc.integer({ min: 1, max: 5 }), ended: fc.boolean() })
        .map(({ sessions, ended }) => {
          const all = Array.from({ length: sessions }, (_, i) => [
            connect(i + 1, i * 2000),
            disconnect(i + 1, i * 2000 + 1000),
          ]).flat()
          return ended ? all : all.slice(0, -1)
        })
      const order = history.chain((all) =>
        fc
          .array(fc.constantFrom(...all), { maxLength: 6 })
          .chain((again) => fc.shuffledSubarray([...all, ...again], { minLength: all.length + again.length }))
          .map((events) => ({ all, events })),
      )
      await fc.assert(
        fc.asyncProperty(order, async ({ all, events }) => {
          const [id, inOrder] = [await newDevice(), await newDevice()]
          for (const event of all) await tell(inOrder, event)
          for (const event of events) await tell(id, event)
          expect(await stateOf(id)).toEqual(await stateOf(inOrder))
          expect((await stateOf(id)).online).toBe(all.at(-1)?.kind === 'connected')
        }),
        // Each run sends some thirty requests to a server.
        { numRuns: at.url.startsWith('file:') ? 200 : 20 },
      )
    })

    it('become one event of the device each, with the reason', async () => {
      const id = await newDevice()
      const events = [connect(1, 1000), disconnect(1, 2000, 'CONNECTION_LOST'), connect(2, 3000)]
      for (const event of events) {
        await tell(id, event)
        await tell(id, event)
      }
      const by = { by: 'broker', client_id: String(id) }
      expect(await eventsOf(id)).toEqual([
        { kind: 'online', detail: by, at: 1000 },
        { kind: 'offline', detail: { ...by, reason: 'CONNECTION_LOST' }, at: 2000 },
        { kind: 'online', detail: by, at: 3000 },
      ])
      expect(told.filter((changed) => changed === id).length).toBeGreaterThanOrEqual(3)
    })

    it('of one client do not end the session of another', async () => {
      const id = await newDevice()
      await tell(id, connect(1, 1000), `${id}-a`)
      await tell(id, connect(2, 2000), `${id}-b`)
      await tell(id, disconnect(2, 3000), `${id}-b`)
      expect(await openOf(id)).toEqual([`${id}-a`])
      expect(await presence.clients(id)).toEqual(
        new Map([
          [`${id}-a`, true],
          [`${id}-b`, false],
        ]),
      )
      expect((await stateOf(id)).online).toBe(true)
      expect((await eventsOf(id)).map(({ kind }) => kind)).toEqual(['online'])
    })

    it('tell whether the device may be connected: it is there, not inactive, and has a valid key', async () => {
      const id = await newDevice()
      expect(await tell(id, connect(1, 1000))).toBe(true)
      await devices.update(id, { status: 'inactive' }, 'admin')
      expect(await tell(id, connect(2, 2000))).toBe(false)
      await devices.update(id, { status: 'active' }, 'admin')
      expect(await tell(id, connect(3, 3000))).toBe(true)
      await devices.revokeKeys(id)
      expect(await tell(id, connect(4, 4000))).toBe(false)
      expect(await tell(999_999, connect(5, 5000))).toBe(false)
    })

    it('may start their versions again after an hour without a connection', async () => {
      const id = await newDevice()
      await tell(id, connect(7, 0))
      await tell(id, disconnect(7, 1000))
      await tell(id, { ...connect(1, 61 * minute), version: 1 })
      expect(await stateOf(id, 62 * minute)).toEqual({ open: 1, connectedAt: 61 * minute, online: true })
    })

    it('from before the versions started again change nothing when they are repeated', async () => {
      const id = await newDevice()
      await tell(id, connect(7, 0))
      await tell(id, disconnect(7, 1000))
      await tell(id, connect(1, 61 * minute))
      await tell(id, connect(7, 0))
      await tell(id, disconnect(7, 1000))
      expect(await stateOf(id, 62 * minute)).toEqual({ open: 1, connectedAt: 61 * minute, online: true })
    })

    it('of an unknown device are ignored', async () => {
      await tell(999_999, connect(1, 0))
      expect(await openOf(999_999)).toEqual([])
    })

    it('of sessions from before a restart of the broker have ended', async () => {
      const id = await newDevice()
      await tell(id, connect(1, 1000))
      await tell(id, connect(500, 1500))
      await presence.reset(noon + 2000)
      expect(await stateOf(id)).toEqual({ open: 0, connectedAt: null, online: false })
      // The restarted broker counts versions from 1.
      await presence.session({ deviceId: id, clientId: String(id), sessionId: 'new', ...connect(1, 3000) })
      expect(await stateOf(id)).toEqual({ open: 1, connectedAt: 3000, online: true })
    })
  })

  describe('status messages', () => {
    const say = (deviceId: number, status: 'online' | 'offline', at: number) =>
      presence.report({ deviceId, clientId: String(deviceId), status, at: noon + at })

    it.each(
      permutations([['online', 1000] as const, ['offline', 2000] as const, ['online', 3000] as const]).map(
        (said) => [said],
      ),
    )('count by their time, in any order: %j', async (said) => {
      const id = await newDevice()
      for (const [status, at] of said) await say(id, status, at)
      expect((await stateOf(id)).online).toBe(true)
      await say(id, 'offline', 4000)
      await say(id, 'offline', 2000)
      expect((await stateOf(id)).online).toBe(false)
    })

    it('are no second event after later traffic, and none after a later offline message', async () => {
      const id = await newDevice()
      devices.touch(id)
      await devices.flush()
      await say(id, 'online', -1000)
      await say(id, 'offline', 1000)
      await say(id, 'online', 500)
      await say(id, 'online', -1000)
      expect(await eventsOf(id)).toEqual([
        { kind: 'online', detail: { by: 'traffic' }, at: 0 },
        { kind: 'offline', detail: { by: 'device', client_id: String(id) }, at: 1000 },
      ])
    })

    it('of a will count for the previous session when they arrive before the new session', async () => {
      const id = await newDevice()
      await tell(id, connect(1, 0))
      await say(id, 'offline', 60_100)
      await tell(id, disconnect(1, 60_000))
      await tell(id, connect(2, 60_050))
      expect(await stateOf(id, 61_000)).toEqual({ open: 1, connectedAt: 60_050, online: true })
    })

    it('of a will leave a device online that has another open session, until that ends too', async () => {
      const id = await newDevice()
      const [a, b] = [`${id}-a`, `${id}-b`]
      await tell(id, connect(1, 0), a)
      await tell(id, connect(2, 10_000), b)
      await presence.report({ deviceId: id, clientId: a, status: 'offline', at: noon + 20_000 })
      await tell(id, disconnect(1, 20_001), a)
      expect((await stateOf(id)).online).toBe(true)
      expect((await eventsOf(id)).map(({ kind }) => kind)).toEqual(['online'])
      await presence.report({ deviceId: id, clientId: b, status: 'offline', at: noon + 30_000 })
      await tell(id, disconnect(2, 30_001), b)
      expect((await stateOf(id)).online).toBe(false)
    })

    it('of a will count when the end of the other session was lost a long time ago', async () => {
      const id = await newDevice()
      await tell(id, connect(1, -2000 * minute), `${id}-a`)
      await tell(id, connect(2, 0), `${id}-b`)
      await presence.report({ deviceId: id, clientId: `${id}-b`, status: 'offline', at: noon + 30_000 })
      expect((await stateOf(id)).online).toBe(false)
    })

    it('become events with the reason, and a will of the previous session leaves the new one online', async () => {
      const id = await newDevice()
      await say(id, 'online', 0)
      await say(id, 'offline', 1000)
      await tell(id, connect(2, 10_000))
      await say(id, 'offline', 10_500)
      expect((await stateOf(id)).online).toBe(true)
      const why = { client_id: String(id) }
      expect(await eventsOf(id)).toEqual([
        { kind: 'online', detail: { by: 'device', ...why }, at: 0 },
        { kind: 'offline', detail: { by: 'device', ...why }, at: 1000 },
        { kind: 'online', detail: { by: 'broker', ...why }, at: 10_000 },
      ])
    })
  })

  describe('silence', () => {
    const sweepAt = async (at: number) => {
      now = noon + at
      await devices.flush()
      await sweep.run()
    }
    const see = async (id: number, at: number) => {
      now = noon + at
      devices.touch(id)
      await devices.flush()
    }
    const settingsOf = (id: number, change: Parameters<Devices['update']>[1]) =>
      devices.update(id, change, 'admin')

    it('makes a device offline that only sends, with the reason, and its next message online again', async () => {
      const id = await newDevice()
      await see(id, 0)
      await sweepAt(299_999)
      expect((await eventsOf(id)).map(({ kind }) => kind)).toEqual(['online'])
      await sweepAt(312_400)
      await sweepAt(400_000)
      await see(id, 500_000)
      await sweepAt(500_001)
      expect(await eventsOf(id)).toEqual([
        { kind: 'online', detail: { by: 'traffic' }, at: 0 },
        { kind: 'offline', detail: { by: 'silence', silent_s: 312, limit_s: 300 }, at: 312_400 },
        { kind: 'online', detail: { by: 'traffic' }, at: 500_000 },
      ])
    })

    it('counts by the limit of the device, and not while a session is open', async () => {
      const [quick, connected] = [await newDevice(), await newDevice()]
      await settingsOf(quick, { offlineAfterS: 10 })
      for (const id of [quick, connected]) await see(id, 0)
      await tell(connected, connect(1, 1))
      await sweepAt(11_000)
      expect((await eventsOf(quick)).map(({ kind }) => kind)).toEqual(['updated', 'online', 'offline'])
      await sweepAt(86_400_000)
      expect((await eventsOf(connected)).map(({ kind }) => kind)).toEqual(['online'])
      // No session lasts longer than a day: its end was lost.
      await sweepAt(86_400_001)
      expect((await eventsOf(connected)).at(-1)).toMatchObject({
        kind: 'offline',
        detail: { by: 'silence', silent_s: 86_400 },
      })
    })

    it('waits for times that other processes have not written yet', async () => {
      const id = await newDevice()
      await see(id, 0)
      const patient = new PresenceSweep({
        db: registry.db,
        offlineAfterS: 300,
        patienceMs: 10_000,
        now: () => now,
      })
      now = noon + 309_999
      await patient.run()
      expect((await eventsOf(id)).map(({ kind }) => kind)).toEqual(['online'])
      now = noon + 310_000
      await patient.run()
      expect((await eventsOf(id)).map(({ kind }) => kind)).toEqual(['online', 'offline'])
    })

    it('is not the reason of a device that an operator has made inactive', async () => {
      const id = await newDevice()
      await see(id, 0)
      await settingsOf(id, { status: 'inactive' })
      await sweepAt(1000)
      expect((await eventsOf(id)).at(-1)).toEqual({ kind: 'offline', detail: { by: 'admin' }, at: 1000 })
    })

    it('ends devices whose sessions a restart of the broker has ended, unless they come back in time', async () => {
      const [gone, back] = [await newDevice(), await newDevice()]
      for (const id of [gone, back]) {
        await see(id, 0)
        await tell(id, connect(1, 1000))
      }
      await presence.reset(noon + 2000)
      await sweepAt(2000)
      await presence.session({
        deviceId: back,
        clientId: String(back),
        sessionId: 'new',
        ...connect(1, 3000),
      })
      await sweepAt(301_000)
      expect((await eventsOf(gone)).map(({ kind }) => kind)).toEqual(['online', 'offline'])
      expect((await eventsOf(back)).map(({ kind }) => kind)).toEqual(['online'])
    })

    it('leaves at most 600 events of a device, the newest ones', async () => {
      const id = await newDevice()
      const old = await newDevice()
      await tell(old, connect(1, 0))
      await tell(old, disconnect(1, 1000))
      // Two rounds of one group: the events of one device stay in their order.
      await Promise.all(
        Array.from({ length: 310 }, (_, n) => [
          tell(id, connect(n + 1, n * 10_000)),
          tell(id, disconnect(n + 1, n * 10_000 + 5000)),
        ]).flat(),
      )
      const all = await devices.events(id, { limit: 1000 })
      expect(all).toHaveLength(621)
      await sweepAt(3_100_000)
      const kept = await devices.events(id, { limit: 1000 })
      expect(kept.slice(0, 500)).toEqual(all.slice(0, 500))
      expect(kept).toHaveLength(501)
      expect(await eventsOf(old)).toHaveLength(2)
    })
  })

  describe('events in general', () => {
    const clients = ['a', 'b'] as const
    type Step = readonly [
      wait: number,
      what: 'connect' | 'disconnect' | 'online' | 'offline' | 'message' | 'restart' | 'again',
      client: (typeof clients)[number],
    ]
    /** Longer than a will and the connection that it does not belong to may be apart. */
    const step: fc.Arbitrary<Step> = fc.tuple(
      fc.integer({ min: 10_000, max: 200_000 }),
      fc.constantFrom('connect', 'connect', 'disconnect', 'online', 'offline', 'message', 'restart', 'again'),
      fc.constantFrom(...clients),
    )
    const limitMs = 300_000
    /** One client says offline while another one is connected; it is told again after that one has gone. */
    const toldLate: Step[] = [
      [10_000, 'connect', 'b'],
      [10_000, 'connect', 'a'],
      [10_000, 'offline', 'b'],
      [10_000, 'disconnect', 'a'],
      [10_000, 'again', 'a'],
    ]

    /** What a device is, told by the steps alone. */
    class Model {
      heardAt = Number.NEGATIVE_INFINITY
      /** By client, whether the session still speaks for the device: it said offline itself otherwise. */
      readonly open = new Map<string, boolean>()

      isOnline(at: number): boolean {
        return [...this.open.values()].includes(true) || at - this.heardAt < limitMs
      }

      silence(): void {
        this.heardAt = Number.NEGATIVE_INFINITY
      }
    }

    const kindsOf = async (id: number) =>
      (await eventsOf(id))
        .filter(({ kind }) => kind === 'online' || kind === 'offline')
        .map(({ kind }) => kind)

    /** After a sweep the newest event says what the list says, and each event is a change. */
    const expectAgreement = async (id: number): Promise<boolean> => {
      await devices.flush()
      await sweep.run()
      const kinds = await kindsOf(id)
      const online = isOnline(await devices.get(id), now)
      expect(kinds.at(-1) ?? 'offline').toBe(online ? 'online' : 'offline')
      expect(kinds).toEqual(kinds.map((_, n) => (n % 2 === 0 ? 'online' : 'offline')))
      return online
    }
    const numRuns = (file: number) => ({ numRuns: at.url.startsWith('file:') ? file : 4 })

    it('property: agree with the list and with a simple model, whatever comes twice', async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 20 }), async (steps) => {
          const id = await newDevice()
          const model = new Model()
          const sessionOf = new Map<string, number>()
          let version = 0
          let told: (() => Promise<unknown>)[] = []
          const once = async (event: () => Promise<unknown>) => {
            told.push(event)
            await event()
          }
          let at = 0
          for (const [wait, what, client] of steps) {
            at += wait
            now = noon + at
            const when = at
            const clientId = `${id}-${client}`
            const others = [...model.open.keys()].filter((one) => one !== client)
            if (what === 'connect') {
              version += 1
              const event = connect(version, when)
              sessionOf.set(client, version)
              await once(() => tell(id, event, clientId))
              model.open.set(client, true)
            } else if (what === 'disconnect' && model.open.has(client)) {
              const event = disconnect(sessionOf.get(client) ?? 0, when)
              await once(() => tell(id, event, clientId))
              model.open.delete(client)
              if (others.length === 0) model.silence()
            } else if (what === 'online') {
              await once(() => presence.report({ deviceId: id, clientId, status: 'online', at: noon + when }))
              model.heardAt = when
            } else if (what === 'offline') {
              await once(() =>
                presence.report({ deviceId: id, clientId, status: 'offline', at: noon + when }),
              )
              if (others.length === 0) {
                model.silence()
                if (model.open.has(client)) model.open.set(client, false)
              }
            } else if (what === 'message') {
              devices.touch(id)
              model.heardAt = when
            } else if (what === 'restart') {
              await presence.reset(noon + when)
              model.open.clear()
              told = []
            } else for (const event of told) await event()
            expect(await expectAgreement(id)).toBe(model.isOnline(at))
          }
        }),
        { ...numRuns(60), examples: [[toldLate]] },
      )
      now = noon
    })

    it('property: agree with the list when they come at once, in any order', async () => {
      const burst = fc.array(fc.constantFrom(...clients), { minLength: 1, maxLength: 6 }).chain((sessions) =>
        fc.shuffledSubarray(
          sessions.flatMap((client, n) => [
            { client, event: connect(n + 1, n * 10_000) },
            { client, event: disconnect(n + 1, n * 10_000 + 5000) },
          ]),
        ),
      )
      await fc.assert(
        fc.asyncProperty(fc.array(burst, { minLength: 1, maxLength: 4 }), async (devicesWithEvents) => {
          now = noon + 60_000
          const ids = await Promise.all(devicesWithEvents.map(newDevice))
          await Promise.all(
            devicesWithEvents.flatMap((events, n) =>
              events.map(({ client, event }) => tell(ids[n] ?? 0, event, `${ids[n]}-${client}`)),
            ),
          )
          for (const id of ids) await expectAgreement(id)
        }),
        numRuns(60),
      )
      now = noon
    })
  })
})
