/** What the sweep of alerts must do on every database. The clock is moved, and nobody waits. */
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import * as runtime from '../../../lib/runtime.ts'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'
import { alertAddress, alerts, ruleAddress, ruleOf, send, tooWarm } from '../admin/alert-requests.ts'

const noon = Date.parse('2026-03-01T12:00:00Z')
const minuteMs = 60_000
let hour = 0

interface Device {
  readonly id: number
  readonly key: string
  readonly name: string
}

/**
 * The cases of one test file: functions keep the services of their first call.
 * @param place settings of the databases, and what removes them.
 */
export function sweepCases(
  place: () => Promise<{ env: Record<string, string>; end: () => Promise<void> }>,
): void {
  let functions: TestFunctions
  let end = async () => {}
  beforeAll(async () => {
    const { env, end: remove } = await place()
    end = remove
    vi.setSystemTime(noon)
    functions = await openFunctions(env, undefined, { longRunning: true })
  })
  beforeEach(() => {
    // Each case has hours of its own, so that it sees no alert of another one.
    hour += 10
    vi.setSystemTime(noon + hour * 3_600_000)
  })
  afterAll(async () => {
    await functions.close()
    await end()
    vi.useRealTimers()
  })

  const pass = (ms: number) => vi.setSystemTime(Date.now() + ms)
  const sweep = () => functions.invoke('alerts-sweep', { source: 'aws.events' })
  const at = (ms: number) => new Date(ms).toISOString().replace('.000Z', 'Z')
  const ofRule = (id: number) => alerts(functions, `?rule_id=${id}`)
  const heartbeat = (key: string) =>
    functions.call('devices-heartbeat', 'POST', '/api/v1/devices/heartbeat', { key })
  const only = ({ id }: Device, condition: object) =>
    ruleOf(functions, { target: { device_id: id }, condition })

  describe('a rule about silence', () => {
    it('opens when no reading has come for its time, and clears with the next one', async () => {
      const device = await functions.register()
      const rule = await only(device, { kind: 'no_data', for: '5m' })
      await send(functions, device.key, { temperature: 1 })
      const last = Date.now()
      pass(5 * minuteMs - 1)
      await sweep()
      expect(await ofRule(rule)).toEqual([])
      pass(20_001)
      await sweep()
      const [alert] = await ofRule(rule)
      expect(alert).toMatchObject({
        state: 'open',
        kind: 'no_data',
        device_id: device.id,
        opened_at: at(last + 5 * minuteMs),
        opened_value: 320,
      })
      pass(minuteMs)
      await sweep()
      expect(await ofRule(rule)).toHaveLength(1)
      await send(functions, device.key, { temperature: 2 })
      await sweep()
      expect(await ofRule(rule)).toMatchObject([
        { id: alert.id, state: 'cleared', clear_reason: 'condition', cleared_at: at(Date.now()) },
      ])
      pass(6 * minuteMs)
      await sweep()
      expect(await ofRule(rule)).toMatchObject([{ state: 'open' }, { state: 'cleared' }])
    })

    it('counts from the registration of a device that never sent anything', async () => {
      const device = await functions.register({ device_type: 'mute' })
      const registered = Date.now()
      const rule = await ruleOf(functions, {
        target: { device_type: 'mute' },
        condition: { kind: 'no_data', for: '1h' },
      })
      pass(59 * minuteMs)
      await sweep()
      expect(await ofRule(rule)).toEqual([])
      pass(minuteMs)
      await sweep()
      expect(await ofRule(rule)).toMatchObject([
        { device_id: device.id, opened_at: at(registered + 60 * minuteMs) },
      ])
    })

    it('opens no alert for a time before there was the rule', async () => {
      const device = await functions.register()
      pass(60 * minuteMs)
      const rule = await only(device, { kind: 'no_data', for: '5m' })
      const made = Date.now()
      pass(10_000)
      await sweep()
      expect(await ofRule(rule)).toMatchObject([{ opened_at: at(made) }])
    })

    it('is judged for devices that fit their labels only', async () => {
      const north = await functions.register({ labels: { hall: 'north' } })
      await functions.register({ labels: { hall: 'south' } })
      const rule = await ruleOf(functions, {
        target: { selector: 'hall=north' },
        condition: { kind: 'no_data', for: '1m' },
      })
      pass(2 * minuteMs)
      await sweep()
      expect(await ofRule(rule)).toMatchObject([{ device_id: north.id, state: 'open' }])
      // It belongs to another hall now.
      await functions.call('admin-update', 'PUT', `/api/v1/admin/devices/${north.id}`, {
        admin: true,
        body: { labels: { hall: 'south' } },
      })
      await sweep()
      expect(await ofRule(rule)).toMatchObject([{ state: 'cleared', clear_reason: 'device_changed' }])
    })
  })

  describe('a rule about devices that are offline', () => {
    it('waits for its time, says since when, and clears when the device is there again', async () => {
      const device = await functions.register({ offline_after_s: 60 })
      await functions.call('admin-update', 'PUT', `/api/v1/admin/devices/${device.id}`, {
        admin: true,
        body: { offline_after_s: 60 },
      })
      const rule = await only(device, { kind: 'offline', for: '2m' })
      await sweep()
      // It was never online.
      expect(await ofRule(rule)).toEqual([])
      await heartbeat(device.key)
      const seen = Date.now()
      pass(61_000 + 10_000)
      await sweep()
      pass(minuteMs)
      await sweep()
      expect(await ofRule(rule)).toEqual([])
      pass(minuteMs)
      await sweep()
      expect(await ofRule(rule)).toMatchObject([
        { state: 'open', kind: 'offline', opened_at: at(seen + 3 * minuteMs) },
      ])
      await heartbeat(device.key)
      await sweep()
      expect(await ofRule(rule)).toMatchObject([{ state: 'cleared', clear_reason: 'condition' }])
    })

    it('opens none for a device that is back in time', async () => {
      const device = await functions.register()
      const rule = await only(device, { kind: 'offline', for: '5m' })
      await heartbeat(device.key)
      pass(6 * minuteMs)
      await sweep()
      await heartbeat(device.key)
      await sweep()
      pass(4 * minuteMs)
      await sweep()
      expect(await ofRule(rule)).toEqual([])
    })
  })

  it('warnings of a device are counted while a rule asks for them', async () => {
    const device = await functions.register()
    const odd = () => send(functions, device.key, { 'a\u0001': 1 })
    await odd()
    const rule = await only(device, { kind: 'warnings', count: 3, within: '10m' })
    for (let sent = 0; sent < 2; sent += 1) await odd()
    await sweep()
    expect(await ofRule(rule)).toEqual([])
    await odd()
    await sweep()
    expect(await ofRule(rule)).toMatchObject([{ state: 'open', kind: 'warnings', opened_value: 3 }])
    pass(11 * minuteMs)
    await sweep()
    expect(await ofRule(rule)).toMatchObject([{ state: 'cleared', clear_reason: 'condition' }])
  })

  it('dead letters of a device are counted while a rule asks for them, each once', async () => {
    const device = await functions.register()
    const letters = await runtime.deadLetters()
    const spoil = () =>
      letters.keep({
        deviceId: device.id,
        topic: `iotflow/devices/${device.id}/telemetry`,
        payload: Buffer.from('{'),
        reason: 'is no JSON',
        receivedAt: Date.now(),
        messageId: 'm',
      })
    await spoil()
    await sweep()
    const rule = await only(device, { kind: 'dead_letters', count: 2, within: '1h' })
    await sweep()
    await spoil()
    await sweep()
    await sweep()
    expect(await ofRule(rule)).toEqual([])
    await spoil()
    await sweep()
    expect(await ofRule(rule)).toMatchObject([{ state: 'open', opened_value: 2 }])
    pass(61 * minuteMs)
    await sweep()
    expect(await ofRule(rule)).toMatchObject([{ state: 'cleared' }])
    await functions.call('admin-delete-alert-rule', 'DELETE', `${ruleAddress}/${rule}`, { admin: true })
    await sweep()
  })

  it('a threshold with a duration is opened by the time alone', async () => {
    const device = await functions.register()
    const rule = await only(device, { ...tooWarm, for: '5m' })
    await send(functions, device.key, { temperature: 31 })
    const sent = Date.now()
    pass(4 * minuteMs)
    await sweep()
    expect(await ofRule(rule)).toEqual([])
    pass(2 * minuteMs)
    await sweep()
    const [alert] = await ofRule(rule)
    expect(alert.state).toBe('open')
    expect(Date.parse(alert.opened_at)).toBe(sent + 5 * minuteMs)
  })

  describe('a device that is not judged', () => {
    it.each(['maintenance', 'inactive'])(
      'has no open alert in %s, and a new one afterwards',
      async (status) => {
        const device = await functions.register()
        const silent = await only(device, { kind: 'no_data', for: '5m' })
        const warm = await only(device, tooWarm)
        await send(functions, device.key, { temperature: 31 })
        pass(6 * minuteMs)
        await sweep()
        await functions.setStatus(device.id, status)
        for (const rule of [silent, warm])
          expect(await ofRule(rule)).toMatchObject([{ state: 'cleared', clear_reason: status }])
        pass(6 * minuteMs)
        await sweep()
        expect(await alerts(functions, `?device_id=${device.id}&state=open`)).toEqual([])
        await functions.setStatus(device.id, 'active')
        await sweep()
        expect(await alerts(functions, `?device_id=${device.id}&state=open`)).toMatchObject([
          { rule_id: silent, kind: 'no_data' },
        ])
      },
    )

    it('gets no alert by the time alone', async () => {
      const device = await functions.register()
      const rule = await only(device, { ...tooWarm, for: '5m' })
      await send(functions, device.key, { temperature: 31 })
      await functions.setStatus(device.id, 'maintenance')
      pass(10 * minuteMs)
      await sweep()
      expect(await ofRule(rule)).toEqual([])
    })

    it('loses its alerts also when another system has changed the registry', async () => {
      const device = await functions.register()
      const rule = await only(device, tooWarm)
      await send(functions, device.key, { temperature: 31 })
      const { db } = await runtime.registry()
      await db.$client.execute({ sql: 'delete from devices where id = ?', args: [device.id] })
      await sweep()
      expect(await ofRule(rule)).toMatchObject([{ state: 'cleared', clear_reason: 'device_deleted' }])
    })
  })

  it('the history tells what a sweep has done', async () => {
    const device = await functions.register()
    const rule = await only(device, { kind: 'no_data', for: '1m' })
    pass(2 * minuteMs)
    await sweep()
    const [{ id }] = await ofRule(rule)
    await send(functions, device.key, { a: 1 })
    await sweep()
    const { json } = await functions.call('admin-show-alert', 'GET', `${alertAddress}/${id}`, { admin: true })
    expect(json.alert.history.map(({ kind }: { kind: string }) => kind)).toEqual(['opened', 'cleared'])
  })
}
