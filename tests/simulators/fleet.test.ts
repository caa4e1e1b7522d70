import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { noFaults } from '../../simulators/faults.ts'
import { Fleet, type FleetOptions } from '../../simulators/fleet.ts'
import { profiles } from '../../simulators/profiles.ts'
import { deviceTypes, findType, typesOfPreset } from '../../simulators/signals/device-types.ts'
import { freePort } from '../support/free-port.ts'
import { type FakeServer, type FakeServerOptions, type Stored, startFakeServer } from './fake-server.ts'

let server: FakeServer | undefined
afterEach(async () => {
  await server?.close()
  server = undefined
})

const start = async (fake: FakeServerOptions, options: Partial<FleetOptions> = {}) => {
  server = await startFakeServer(fake)
  return new Fleet({
    url: server.url,
    mqttUrl: server.mqttUrl,
    protocol: 'mixed',
    types: deviceTypes.slice(0, 4),
    durationS: 1,
    profile: { intervalS: 0.05, heartbeatS: 0.2, gathered: 1 },
    settleMs: 0,
    ...options,
  })
}
const run = async (fake: FakeServerOptions, options: Partial<FleetOptions> = {}) =>
  (await start(fake, options)).simulate()

const rates = (given: Partial<typeof noFaults>) => ({ ...noFaults, ...given })
/** Readings of messages with one or several. */
const readingsOf = (body: unknown) => (Array.isArray(body) ? body : [body]) as Stored[]

describe('a fleet', () => {
  it('succeeds when the server keeps everything, over both protocols and several pages', async () => {
    const { ok, devices, total } = await run({}, { pageSize: 3 })
    expect(devices.map(({ protocol }) => protocol)).toEqual(['http', 'mqtt', 'http', 'mqtt'])
    expect(devices.map(({ name }) => name)).toEqual([
      'sim-temperature-1',
      'sim-door_lock-1',
      'sim-camera-1',
      'sim-air_quality-1',
    ])
    expect(total.acknowledged).toBeGreaterThan(7)
    expect(total).toMatchObject({
      sent: total.acknowledged,
      found: total.acknowledged,
      missing: 0,
      duplicated: 0,
      altered: 0,
    })
    expect(ok).toBe(true)
  })

  it.each(['http', 'mqtt'] as const)('finds one acknowledged reading that was lost: %s', async (protocol) => {
    const summary = await run({ store: (reading, n) => (n === 7 ? undefined : reading) }, { protocol })
    expect(summary.ok).toBe(false)
    expect(summary.total).toMatchObject({ missing: 1, duplicated: 0, altered: 0 })
    expect(summary.faults).toEqual([expect.stringMatching(/^sim-\w+-1, reading of .*Z: .*not there$/)])
  })

  it('finds one reading that is there twice', async () => {
    const again = (reading: Stored) => ({ ...reading, timestamp: reading.timestamp.replace('Z', '001Z') })
    const summary = await run({ store: (reading, n) => (n === 5 ? [reading, again(reading)] : reading) })
    expect(summary.ok).toBe(false)
    expect(summary.total).toMatchObject({ missing: 0, duplicated: 1 })
  })

  it('finds one altered value', async () => {
    const alter: FakeServerOptions['store'] = (reading, n) =>
      n === 5 ? { ...reading, data: { ...reading.data, colour: 'red' } } : reading
    const summary = await run({ store: alter })
    expect(summary.ok).toBe(false)
    expect(summary.total).toMatchObject({ missing: 0, altered: 1 })
    expect(summary.faults[0]).toContain('colour was sent as nothing and reads "red"')
  })

  it('retries a reading that is refused temporarily', async () => {
    const refuse: FakeServerOptions['refuse'] = (n) =>
      n === 3 ? { status: 429, retryAfter: '0' } : n === 5 ? { status: 503, retryAfter: '0' } : undefined
    const { ok, retries, total } = await run({ refuse }, { protocol: 'http' })
    expect(retries).toEqual({ 'HTTP 429': 1, 'HTTP 503': 1 })
    expect(total.sent).toBe(total.acknowledged)
    expect(ok).toBe(true)
  })

  it('reports a reading that is refused for good, and does not count it as missing', async () => {
    const { ok, unacknowledged, total } = await run(
      { refuse: (n) => (n === 3 ? { status: 422 } : undefined) },
      { protocol: 'http' },
    )
    expect(unacknowledged).toEqual({ 'HTTP 422: Not now.': 1 })
    expect(total).toMatchObject({ acknowledged: total.sent - 1, found: total.sent - 1, missing: 0 })
    expect(ok).toBe(true)
  })

  it('counts each reading that got no answer until the end once, and whether it is stored is not known', async () => {
    const { ok, unacknowledged, total, devices } = await run(
      { refuse: (n) => (n > 4 ? { status: 503, retryAfter: '0.1' } : undefined) },
      { protocol: 'http', drainMs: 300 },
    )
    const waiting = Object.values(unacknowledged).reduce((sum, count) => sum + count, 0)
    expect(total.acknowledged).toBe(4)
    expect(total.sent).toBeGreaterThan(4)
    expect(total.missing).toBe(0)
    expect(waiting).toBeGreaterThanOrEqual(total.sent - 4)
    expect(waiting).toBeLessThan(devices.length * 24)
    expect(ok).toBe(true)
  })

  it('fails when every reading is refused', async () => {
    const { ok, total } = await run({ refuse: () => ({ status: 401 }) }, { protocol: 'http' })
    expect(total).toMatchObject({ acknowledged: 0, found: 0 })
    expect(ok).toBe(false)
  })

  it('reconnects after a lost MQTT connection and loses nothing', async () => {
    const running = run({}, { protocol: 'mqtt', durationS: 3 })
    await expect.poll(() => new Set(server?.arrivals.map(({ id }) => id)).size, { interval: 10 }).toBe(4)
    expect(server?.dropMqtt()).toBe(4)
    const { ok, total } = await running
    expect(total.sent).toBe(total.acknowledged)
    expect(total.acknowledged).toBeGreaterThan(8)
    expect(ok).toBe(true)
  })

  it('waits for a store that shows a write later', async () => {
    const types = deviceTypes.slice(0, 1)
    const { ok, total } = await run({ late: (n) => n === 1 }, { types, settleMs: 2000 })
    expect(total).toMatchObject({ missing: 0, late: 1 })
    expect(ok).toBe(true)
  })

  it('stops on request and still checks the readings sent before', async () => {
    const stop = new AbortController()
    const running = run({}, { durationS: 3600, signal: stop.signal })
    await expect.poll(() => server?.arrivals.some(({ topic }) => topic.endsWith('telemetry'))).toBe(true)
    stop.abort()
    const { ok, total } = await running
    expect(total.acknowledged).toBeGreaterThan(0)
    expect(total.found).toBe(total.acknowledged)
    expect(ok).toBe(true)
  })

  it('names in one sentence what to do when no server runs', async () => {
    const [url, mqttUrl] = [`http://127.0.0.1:${await freePort()}`, `mqtt://127.0.0.1:${await freePort()}`]
    const options = { types: deviceTypes.slice(0, 3), durationS: 1 }
    await expect(new Fleet({ ...options, url, protocol: 'http' }).simulate()).rejects.toThrow(
      /^Nothing answers at http:\/\/127\.0\.0\.1:\d+: run `npm start` first, or name the server's address with --url/,
    )
    server = await startFakeServer()
    const other = new Fleet({ ...options, url: server.url, mqttUrl, protocol: 'mqtt' })
    await expect(other.simulate()).rejects.toThrow(/^Nothing answers at mqtt:.*--mqtt-url/)
  })

  it('finds the broker by the answer of the server', async () => {
    const { ok } = await run({}, { protocol: 'mqtt', mqttUrl: undefined })
    expect(ok).toBe(true)
    expect(server?.calls.get('GET /api/v1/devices/mqtt-credentials')).toBe(1)
  })

  it('repeats its readings and faults with the same seed and start', async () => {
    /** The readings of each device in the order of their times. */
    const readings = async (seed: number) => {
      await run({}, { seed, startAt: Date.parse('2026-06-01T08:00:00Z'), types: typesOfPreset('office') })
      const byName = new Map<string, Stored[]>()
      for (const { id, topic, body } of server?.arrivals ?? []) {
        const name = server?.names[id - 1] ?? ''
        if (topic.endsWith('telemetry')) byName.set(name, [...(byName.get(name) ?? []), ...readingsOf(body)])
      }
      await server?.close()
      return byName
    }
    const [first, second, other] = [await readings(5), await readings(5), await readings(6)]
    let compared = 0
    for (const [name, all] of first) {
      for (const [at, { timestamp, data }] of all.entries()) {
        const again = second.get(name)?.[at]
        // A machine that is busy may leave out a reading; what a device measures later depends on it.
        if (again?.timestamp !== timestamp) break
        expect(again.data, `${name} ${timestamp}`).toEqual(data)
        expect(other.get(name)?.[at]?.timestamp).not.toBe(timestamp)
        compared++
      }
    }
    expect(compared).toBeGreaterThan(16)
  })
})

describe('faults', () => {
  it.each(['http', 'mqtt'] as const)('of the network lose and repeat nothing: %s', async (protocol) => {
    const { ok, total, injected, retries } = await run(
      {},
      {
        protocol,
        durationS: 2,
        rates: rates({ failure: 0.4, disconnect: 0.2, duplicate: 0.2, outOfOrder: 0.2, latencyMs: 5 }),
      },
    )
    for (const name of ['message lost', 'answer lost', 'disconnect', 'duplicate', 'out of order'])
      expect(injected[name], name).toBeGreaterThan(0)
    expect(retries['connection lost']).toBeGreaterThan(0)
    expect(total).toMatchObject({ missing: 0, duplicated: 0, altered: 0, sent: total.acknowledged })
    expect(ok).toBe(true)
  })

  it.each(['http', 'mqtt'] as const)(
    'keep the readings of a device that is offline, and send them together: %s',
    async (protocol) => {
      const { ok, total, injected } = await run(
        {},
        { protocol, durationS: 1.5, rates: rates({ offline: 0.1, offlineS: 0.4 }) },
      )
      expect(injected.offline).toBeGreaterThan(0)
      expect(server?.arrivals.some(({ body }) => Array.isArray(body) && body.length > 1)).toBe(true)
      expect(total.sent).toBe(total.acknowledged)
      expect(ok).toBe(true)
    },
  )

  it('of the clock give the readings an id, and accept that the server takes the time of arrival', async () => {
    const { ok, total } = await run(
      {
        store: (reading) => ({
          ...reading,
          timestamp: new Date(Date.now() + Math.random() * 1e6).toISOString(),
        }),
      },
      { rates: rates({ wrongClock: 1 }), types: deviceTypes },
    )
    const telemetry = (server?.arrivals ?? []).filter(({ topic }) => topic.endsWith('telemetry'))
    for (const { body } of telemetry)
      expect(body).toHaveProperty('message_id', expect.stringMatching(/^\w{6}-\d+$/))
    expect(telemetry.some(({ body }) => (body as Stored).timestamp.startsWith('1970-'))).toBe(true)
    expect(total.acknowledged).toBeGreaterThan(0)
    expect(ok).toBe(true)
  })
})

describe('a device', () => {
  it('says over MQTT that it is online, alive and offline, and leaves a will', async () => {
    const fleet = await start({}, { protocol: 'mqtt', types: deviceTypes.slice(0, 2), durationS: 1 })
    const done = fleet.simulate()
    await expect.poll(() => fleet.devices.map(({ status }) => status)).toEqual(['online', 'online'])
    fleet.devices[1]?.break('connection')
    await done
    const of = (id: number) =>
      (server?.arrivals ?? [])
        .filter((one) => one.id === id && one.topic.startsWith('status'))
        .map(({ topic }) => topic)
    expect(of(1)).toEqual(expect.arrayContaining(['status/online', 'status/heartbeat', 'status/offline']))
    expect(of(1)[0]).toBe('status/online')
    expect(of(2)).toContain('status/offline')
  })

  it('answers commands over MQTT, each once', async () => {
    const fleet = await start(
      {},
      { protocol: 'mqtt', types: [findType('door_lock') as never], durationS: 30 },
    )
    const done = fleet.simulate()
    await expect.poll(() => fleet.phase).toBe('sending')
    const responses = () =>
      (server?.arrivals ?? []).filter(({ topic }) => topic === 'commands/response').map(({ body }) => body)
    await server?.publish('iotflow/devices/1/commands', { command_id: 'a', command: 'unlock', params: {} })
    await server?.publish('iotflow/devices/1/commands', { command_id: 'a', command: 'unlock', params: {} })
    await server?.publish('iotflow/devices/1/commands/control', { command_id: 'b', command: 'fly' })
    await expect.poll(responses).toEqual([
      { command_id: 'a', status: 'acknowledged' },
      { command_id: 'a', status: 'succeeded', result: {} },
      { command_id: 'b', status: 'acknowledged' },
      { command_id: 'b', status: 'failed', result: { error: 'a door_lock knows no command fly' } },
    ])
    await expect.poll(() => fleet.devices[0]?.values.locked).toBe(false)
    fleet.stop()
    expect((await done).commands).toBe(2)
  })

  it.each([
    ['never answers', { silent: 1 }, [], { 'command not answered': 1 }],
    [
      'answers twice',
      { answerTwice: 1 },
      ['acknowledged', 'succeeded', 'succeeded'],
      { 'command answered twice': 1 },
    ],
  ])('%s when it is told to', async (_what, given, statuses, injected) => {
    const options = { types: [findType('door_lock') as never], durationS: 30, rates: rates(given) }
    const fleet = await start({}, { protocol: 'mqtt', ...options })
    const done = fleet.simulate()
    await expect.poll(() => fleet.phase).toBe('sending')
    await server?.publish('iotflow/devices/1/commands', { command_id: 'a', command: 'unlock', params: {} })
    await expect.poll(() => fleet.statistics.commands).toBe(1)
    fleet.stop()
    expect((await done).injected).toEqual(injected)
    const answers = (server?.arrivals ?? []).filter(({ topic }) => topic === 'commands/response')
    expect(answers.map(({ body }) => (body as { status: string }).status)).toEqual(statuses)
  })

  it('applies its configuration over MQTT and reports the version', async () => {
    const fleet = await start(
      {},
      {
        protocol: 'mqtt',
        types: [findType('thermostat') as never],
        durationS: 30,
        profile: profiles.energy_efficient,
      },
    )
    const done = fleet.simulate()
    await expect.poll(() => fleet.phase).toBe('sending')
    const configuration = { sampling_interval: 0.1, target_temperature: 27 }
    await server?.publish('iotflow/devices/1/config', { version: 3, configuration }, true)
    await expect
      .poll(() => server?.arrivals.find(({ topic }) => topic === 'config/reported')?.body)
      .toEqual({ version: 3 })
    await expect.poll(() => fleet.devices[0]?.values.target_temperature).toBe(27)
    fleet.stop()
    await done
  })

  it('asks over HTTP for commands and configuration, and answers', async () => {
    const value = (given: unknown) => ({
      value: given,
      data_type: 'float',
      updated_at: '2026-01-01T00:00:00Z',
    })
    const fleet = await start(
      {
        commands: [{ command_id: 'c1', command: 'set_mode', params: { mode: 'off' } }],
        configuration: { version: 1, configuration: { target_temperature: value(26.5) } },
      },
      { protocol: 'http', types: [findType('thermostat') as never], durationS: 30 },
    )
    const done = fleet.simulate()
    await expect
      .poll(() =>
        server?.arrivals.filter(({ topic }) => topic.endsWith('/commands/c1')).map(({ body }) => body),
      )
      .toEqual(expect.arrayContaining([{ status: 'acknowledged' }, { status: 'succeeded', result: {} }]))
    await expect.poll(() => fleet.devices[0]?.values).toMatchObject({ mode: 'off', target_temperature: 26.5 })
    expect(server?.arrivals.some(({ topic }) => topic.endsWith('/heartbeat'))).toBe(true)
    fleet.stop()
    await done
  })

  it('can be added, broken, repaired and stopped while the fleet runs, and nothing is lost', async () => {
    const fleet = await start({}, { durationS: 60 })
    const done = fleet.simulate()
    await expect.poll(() => fleet.phase).toBe('sending')
    const [added] = await fleet.add([findType('tracker') as never])
    expect(added?.identity.name).toBe('sim-tracker-1')
    const [first, second, third] = fleet.devices
    first?.break('connection')
    second?.break('power')
    third?.break('sensor')
    expect([first, second, third].map((device) => device?.status)).toEqual(['broken', 'broken', 'broken'])
    await expect.poll(() => first?.waiting).toBeGreaterThan(3)
    const stuck = third?.values
    await expect.poll(() => third?.journal.length).toBeGreaterThan(10)
    expect(third?.values).toEqual(stuck)
    for (const device of [first, second, third]) device?.repair()
    await expect.poll(() => first?.waiting).toBeLessThan(3)
    await fleet.stopDevice(added as never)
    expect(added?.status).toBe('stopped')
    fleet.stop()
    const { ok, total, devices } = await done
    expect(devices).toHaveLength(5)
    expect(total.sent).toBe(total.acknowledged)
    expect(ok).toBe(true)
  })

  it('that saves energy sends its readings in groups', async () => {
    const profile = { intervalS: 0.05, heartbeatS: 10, gathered: 5 }
    const { ok } = await run({}, { profile, durationS: 1 })
    const sizes = (server?.arrivals ?? [])
      .filter(({ topic }) => topic.endsWith('telemetry'))
      .map(({ body }) => readingsOf(body).length)
    expect(sizes.filter((size) => size >= 5).length).toBeGreaterThan(4)
    expect(ok).toBe(true)
  })
})

describe('keys', () => {
  it('are used again by a second run with the same names', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'simulator-'))
    try {
      const keyFile = join(folder, 'keys.json')
      const first = await start({}, { keyFile })
      const { url, mqttUrl } = server as FakeServer
      expect((await first.simulate()).ok).toBe(true)
      const again = new Fleet({ ...first.options, url, mqttUrl })
      const { ok, devices } = await again.simulate()
      expect(ok).toBe(true)
      expect(devices.map(({ id }) => id)).toEqual([1, 2, 3, 4])
      expect(server?.names).toHaveLength(4)
      expect(server?.calls.get('POST /api/v1/devices/register')).toBe(4)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})
