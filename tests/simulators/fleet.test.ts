import { afterEach, describe, expect, it } from 'vitest'
import { type FleetOptions, runFleet } from '../../simulators/fleet.ts'
import { type FakeLayer, type FakeLayerOptions, startFakeLayer } from './fake-layer.ts'

let layer: FakeLayer | undefined
afterEach(async () => {
  await layer?.close()
  layer = undefined
})

const run = async (fake: FakeLayerOptions, options: Partial<FleetOptions> = {}) => {
  layer = await startFakeLayer(fake)
  const { url, mqttUrl } = layer
  return runFleet({
    url,
    mqttUrl,
    protocol: 'both',
    devices: 4,
    durationS: 0.5,
    rate: 20,
    settleMs: 0,
    ...options,
  })
}

describe('a fleet', () => {
  it('proves a layer that keeps everything, over both protocols and more than one page', async () => {
    const { ok, devices, total } = await run({}, { pageSize: 3 })
    expect(devices.map(({ protocol }) => protocol)).toEqual(['http', 'http', 'mqtt', 'mqtt'])
    expect(total.acknowledged).toBeGreaterThan(20)
    expect(total).toMatchObject({
      sent: total.acknowledged,
      stored: total.acknowledged,
      missing: 0,
      altered: 0,
    })
    expect(ok).toBe(true)
  })

  it.each(['http', 'mqtt'] as const)(
    'finds the one reading that was acknowledged and lost: %s',
    async (protocol) => {
      const summary = await run({ store: (reading, n) => (n === 7 ? undefined : reading) }, { protocol })
      expect(summary.ok).toBe(false)
      expect(summary.total).toMatchObject({ missing: 1, altered: 0 })
      expect(summary.faults).toEqual([expect.stringMatching(/^sim-\w+-\d, reading of .*Z: .*not there$/)])
    },
  )

  it('finds the one value that was altered', async () => {
    const alter: FakeLayerOptions['store'] = (reading, n) =>
      n === 5 ? { ...reading, data: { ...reading.data, humidity: 'wet' } } : reading
    const summary = await run({ store: alter })
    expect(summary.ok).toBe(false)
    expect(summary.total).toMatchObject({ missing: 0, altered: 1 })
    expect(summary.faults[0]).toContain('reads "wet"')
  })

  it('sends again what was refused for a while', async () => {
    const refuse: FakeLayerOptions['refuse'] = (n) =>
      n === 3 ? { status: 429, retryAfter: '0' } : n === 5 ? { status: 503, retryAfter: '0' } : undefined
    const { ok, retries, total } = await run({ refuse }, { protocol: 'http' })
    expect(retries).toEqual({ 'HTTP 429': 1, 'HTTP 503': 1 })
    expect(total.sent).toBe(total.acknowledged)
    expect(ok).toBe(true)
  })

  it('does not miss what was refused for good, but says so', async () => {
    const { ok, unacknowledged, total } = await run(
      { refuse: (n) => (n === 3 ? { status: 422 } : undefined) },
      { protocol: 'http' },
    )
    expect(unacknowledged).toEqual({ 'HTTP 422: Not now.': 1 })
    expect(total).toMatchObject({ acknowledged: total.sent - 1, stored: total.sent - 1, missing: 0 })
    expect(ok).toBe(true)
  })

  it('is no success when every reading was refused', async () => {
    const { ok, total } = await run({ refuse: () => ({ status: 401 }) }, { protocol: 'http' })
    expect(total).toMatchObject({ acknowledged: 0, stored: 0 })
    expect(ok).toBe(false)
  })

  it('comes back after a lost MQTT connection and loses nothing', async () => {
    let dropped = 0
    setTimeout(() => {
      dropped = layer?.dropMqtt() ?? 0
    }, 500)
    const { ok, total, devices } = await run({}, { protocol: 'mqtt', durationS: 1.5 })
    expect(dropped).toBe(4)
    expect(total.sent).toBe(total.acknowledged)
    expect(Math.min(...devices.map(({ acknowledged }) => acknowledged))).toBeGreaterThan(8)
    expect(ok).toBe(true)
  })

  it('waits a moment for a storage that shows late what it took', async () => {
    const { ok, total } = await run({ late: (n) => n === 1 }, { devices: 1, settleMs: 2000 })
    expect(total).toMatchObject({ missing: 0, late: 1 })
    expect(ok).toBe(true)
  })

  it('stops when it is told to, and still proves what was sent', async () => {
    const stop = new AbortController()
    setTimeout(() => stop.abort(), 400)
    const { ok, seconds, total } = await run({}, { durationS: 60, signal: stop.signal })
    expect(seconds).toBeLessThan(5)
    expect(total.acknowledged).toBeGreaterThan(0)
    expect(total.stored).toBe(total.acknowledged)
    expect(ok).toBe(true)
  })

  it('says in one sentence what to do when there is no layer', async () => {
    const gone = await startFakeLayer()
    await gone.close()
    const { url, mqttUrl } = gone
    const options = { url, mqttUrl, devices: 3, durationS: 1, rate: 1 }
    await expect(runFleet({ ...options, protocol: 'http' })).rejects.toThrow(
      /^Nothing answers at http:\/\/127\.0\.0\.1:\d+: run `npm start` first, or say with --url/,
    )
    layer = await startFakeLayer()
    await expect(runFleet({ ...options, url: layer.url, protocol: 'mqtt' })).rejects.toThrow(
      /^Nothing answers at mqtt:.*--mqtt-url/,
    )
  })
})
