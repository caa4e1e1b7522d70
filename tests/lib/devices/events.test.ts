import { expect, it } from 'vitest'
import { countEvents, insertEvent, listEvents, type RepeatedEvent } from '../../../lib/devices/events.ts'
import { noon, pump, startDevices } from '../../support/devices.ts'
import { describeRegistry } from '../../support/registry.ts'

describeRegistry('events', (place) => {
  it('are listed newest first, page by page, of one device only', async () => {
    const { connect } = await startDevices(place)
    const { devices, registry } = await connect()
    const [{ device }, other] = [
      await devices.register(pump),
      await devices.register({ ...pump, name: 'fan' }),
    ]
    for (const version of [1, 2, 3])
      await insertEvent(registry.db, device.id, 'configuration', noon + version, { version })
    await insertEvent(registry.db, other.device.id, 'configuration', noon, { version: 9 })
    const page = await listEvents(registry.db, device.id, { limit: 2 })
    expect(page.map(({ kind, detail, at }) => [kind, detail, at - noon])).toEqual([
      ['configuration', { version: 3 }, 3],
      ['configuration', { version: 2 }, 2],
    ])
    const rest = await listEvents(registry.db, device.id, { limit: 10, before: page[1]?.id })
    expect(rest.map(({ kind, detail }) => [kind, detail])).toEqual([
      ['configuration', { version: 1 }],
      ['registered', null],
    ])
    await devices.delete(device.id)
    expect(await listEvents(registry.db, device.id, { limit: 10 })).toEqual([])
  })

  it('tell who made a change, and never a key', async () => {
    const { connect } = await startDevices(place)
    const { devices } = await connect()
    const { device } = await devices.register(pump)
    const { apiKey } = await devices.rotateKey(device.id, { graceS: 60, by: 'device' })
    await devices.update(device.id, { status: 'inactive', location: 'Lab' }, 'admin')
    await devices.revokeKeys(device.id, apiKey.slice(0, 6))
    const events = await devices.events(device.id, { limit: 10 })
    expect(events.map(({ kind, detail }) => [kind, detail])).toEqual([
      ['key_revoked', { key_prefixes: [apiKey.slice(0, 6)] }],
      ['status', { by: 'admin', from: 'active', to: 'inactive' }],
      ['updated', { by: 'admin', fields: ['location'] }],
      ['key_rotated', { by: 'device', key_prefix: apiKey.slice(0, 6), grace_s: 60 }],
      ['registered', null],
    ])
    expect(JSON.stringify(events)).not.toContain(apiKey)
  })

  const warning = (deviceId: number, more: Partial<RepeatedEvent> = {}): RepeatedEvent => ({
    deviceId,
    kind: 'warning',
    key: 'CLOCK_WRONG 2026-03-01',
    at: noon,
    lastAt: noon,
    count: 1,
    detail: { code: 'CLOCK_WRONG', paths: ['ts'] },
    ...more,
  })

  it('that repeat are one row with a counter and the paths of all', async () => {
    const { connect } = await startDevices(place)
    const { devices, registry } = await connect()
    const { device } = await devices.register(pump)
    const second = warning(device.id, {
      at: noon + 5,
      lastAt: noon + 5,
      count: 3,
      detail: { code: 'CLOCK_WRONG', paths: ['timestamp', 'ts', 'time'] },
    })
    await countEvents(registry.db, [warning(device.id), second])
    await countEvents(registry.db, [warning(device.id, { key: 'CLOCK_WRONG 2026-03-02' }), second])
    const events = await listEvents(registry.db, device.id, { limit: 10 })
    expect(events.map(({ kind, at, repeated, detail }) => [kind, at - noon, repeated, detail])).toEqual([
      ['warning', 0, { count: 1, lastAt: noon }, { code: 'CLOCK_WRONG', paths: ['ts'] }],
      [
        'warning',
        0,
        { count: 7, lastAt: noon + 5 },
        { code: 'CLOCK_WRONG', paths: ['ts', 'timestamp', 'time'] },
      ],
      ['registered', 0, undefined, null],
    ])
  })

  it('keep the first 20 paths', async () => {
    const { connect } = await startDevices(place)
    const { devices, registry } = await connect()
    const { device } = await devices.register(pump)
    const paths = (from: number) => Array.from({ length: 15 }, (_, at) => `p${from + at}`)
    for (const from of [50, 10])
      await countEvents(registry.db, [warning(device.id, { detail: { code: 'X', paths: paths(from) } })])
    const [event] = await listEvents(registry.db, device.id, { limit: 1 })
    expect(event?.detail).toEqual({ code: 'X', paths: [...paths(50), ...paths(10).slice(0, 5)] })
  })

  it('that repeat leave out devices that do not exist', async () => {
    const { connect } = await startDevices(place)
    const { devices, registry } = await connect()
    const { device } = await devices.register(pump)
    await countEvents(registry.db, [warning(device.id + 1), warning(device.id)])
    expect(await listEvents(registry.db, device.id, { limit: 10 })).toHaveLength(2)
  })

  it('that repeat are gathered and written together', async () => {
    const { clock, connect } = await startDevices(place)
    const { devices } = await connect()
    const { device } = await devices.register(pump)
    const note = (hour: string) =>
      devices.noteRepeated({
        deviceId: device.id,
        kind: 'login_failed',
        key: hour,
        detail: { reason: 'key' },
      })
    note('2026-03-01T12')
    clock.now += 1000
    note('2026-03-01T12')
    expect(await devices.events(device.id, { limit: 1 })).toMatchObject([{ kind: 'registered' }])
    await devices.flushDue()
    expect(await devices.events(device.id, { limit: 1 })).toMatchObject([
      {
        kind: 'login_failed',
        at: noon,
        repeated: { count: 2, lastAt: noon + 1000 },
        detail: { reason: 'key' },
      },
    ])
  })

  it('that repeat are dropped beyond 2000 that wait, so that nobody can fill the memory', async () => {
    const { connect } = await startDevices(place)
    const { devices } = await connect()
    const { device } = await devices.register(pump)
    for (let at = 0; at < 2100; at += 1)
      devices.noteRepeated({ deviceId: device.id, kind: 'login_failed', key: `hour ${at}`, detail: {} })
    await devices.flush()
    expect(await devices.events(device.id, { limit: 3000 })).toHaveLength(2001)
  })
})
