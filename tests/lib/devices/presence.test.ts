import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { isOnline } from '../../../lib/devices/device.ts'
import { createDevices, type Devices } from '../../../lib/devices/devices.ts'
import { createPresence, type Presence, type SessionEvent } from '../../../lib/devices/presence.ts'
import { createLog } from '../../../lib/log.ts'
import { openRegistry, type Registry } from '../../../lib/registry/db.ts'
import { describeRegistry, type Place } from '../../support/registry.ts'

const noon = Date.parse('2026-03-01T12:00:00Z')
const minute = 60_000

let at: Place
let registry: Registry
let devices: Devices
let presence: Presence
const told: number[] = []
const open = async (place: () => Promise<Place>) => {
  at = await place()
  registry = await openRegistry({ url: at.url })
  await registry.migrate()
  const { db } = registry
  devices = createDevices({
    db,
    log: createLog('silent'),
    now: () => noon,
    keyLength: 32,
    offlineAfterS: 300,
    cacheMs: 0,
  })
  presence = createPresence({ db, changed: (id) => told.push(id) })
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
  const device = await devices.get(id)
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

  describe('events of sessions', () => {
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
    )(
      'leave a session open that took over from one whose end was told of at %i: %j',
      async (_end, events) => {
        const id = await newDevice()
        for (const event of events) await tell(id, event)
        expect(await stateOf(id)).toEqual({ open: 1, connectedAt: 3000, online: true })
      },
    )

    it('property: leave what the newest says, in any order and however often they are told', async () => {
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
        // Each run asks a server some thirty times.
        { numRuns: at.url.startsWith('file:') ? 200 : 20 },
      )
    })

    it('are kept with why, once each', async () => {
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

    it('of one client leave the session of another open', async () => {
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

    it('begin to count anew after an hour away', async () => {
      const id = await newDevice()
      await tell(id, connect(7, 0))
      await tell(id, disconnect(7, 1000))
      await tell(id, { ...connect(1, 61 * minute), version: 1 })
      expect(await stateOf(id, 62 * minute)).toEqual({ open: 1, connectedAt: 61 * minute, online: true })
    })

    it('from before the count began anew change nothing when they come again', async () => {
      const id = await newDevice()
      await tell(id, connect(7, 0))
      await tell(id, disconnect(7, 1000))
      await tell(id, connect(1, 61 * minute))
      await tell(id, connect(7, 0))
      await tell(id, disconnect(7, 1000))
      expect(await stateOf(id, 62 * minute)).toEqual({ open: 1, connectedAt: 61 * minute, online: true })
    })

    it('of a device that is unknown are left out', async () => {
      await tell(999_999, connect(1, 0))
      expect(await openOf(999_999)).toEqual([])
    })

    it('from before a new start of the broker have ended', async () => {
      const id = await newDevice()
      await tell(id, connect(1, 1000))
      await tell(id, connect(500, 1500))
      await presence.reset(noon + 2000)
      expect(await stateOf(id)).toEqual({ open: 0, connectedAt: null, online: false })
      // The new one counts from the start.
      await presence.session({ deviceId: id, clientId: String(id), sessionId: 'new', ...connect(1, 3000) })
      expect(await stateOf(id)).toEqual({ open: 1, connectedAt: 3000, online: true })
    })
  })

  describe('what a device says of itself', () => {
    const say = (deviceId: number, status: 'online' | 'offline', at: number) =>
      presence.report({ deviceId, clientId: String(deviceId), status, at: noon + at })

    it.each(
      permutations([['online', 1000] as const, ['offline', 2000] as const, ['online', 3000] as const]).map(
        (said) => [said],
      ),
    )('counts by its time, in any order: %j', async (said) => {
      const id = await newDevice()
      for (const [status, at] of said) await say(id, status, at)
      expect((await stateOf(id)).online).toBe(true)
      await say(id, 'offline', 4000)
      await say(id, 'offline', 2000)
      expect((await stateOf(id)).online).toBe(false)
    })

    it('is kept also when traffic after it was written first, and not when it was offline after it', async () => {
      const id = await newDevice()
      devices.seen(id)
      await devices.flush()
      await say(id, 'online', -1000)
      await say(id, 'offline', 1000)
      await say(id, 'online', 500)
      await say(id, 'online', -1000)
      const why = { by: 'device', client_id: String(id) }
      expect(await eventsOf(id)).toEqual([
        { kind: 'online', detail: why, at: -1000 },
        { kind: 'offline', detail: why, at: 1000 },
      ])
    })

    it('in a will is of the session before, when it is told before the new one', async () => {
      const id = await newDevice()
      await tell(id, connect(1, 0))
      await say(id, 'offline', 60_100)
      await tell(id, disconnect(1, 60_000))
      await tell(id, connect(2, 60_050))
      expect(await stateOf(id, 61_000)).toEqual({ open: 1, connectedAt: 60_050, online: true })
    })

    it('is kept with why, and a will of the session before says nothing of a new one', async () => {
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
})
