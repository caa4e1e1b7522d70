import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { type CallOptions, openFunctions, type TestFunctions } from '../../support/functions.ts'
import { alertAddress, alerts, ruleAddress, ruleOf } from './alert-requests.ts'
import { itIsForAdminsOnly } from './refusals.ts'

const noon = Date.parse('2026-03-01T12:00:00Z')

let functions: TestFunctions
beforeAll(async () => {
  vi.setSystemTime(noon)
  functions = await openFunctions()
})
afterAll(async () => {
  await functions.close()
  vi.useRealTimers()
})

const dashboard = (options: CallOptions = { admin: true }, path = '/api/v1/admin/dashboard') =>
  functions.call('admin-dashboard', 'GET', path, options)

/** Moves the clock so far that the numbers are counted again, s. */
let clock = noon
const wait = (seconds: number) => {
  clock += seconds * 1000
  vi.setSystemTime(clock)
}

const send = (key: string, secondsAgo: number) =>
  functions.call('telemetry-submit', 'POST', '/api/v1/devices/telemetry', {
    key,
    body: { data: { t: secondsAgo }, timestamp: new Date(clock - secondsAgo * 1000).toISOString() },
  })

describe('the dashboard', () => {
  it('is all zeros while there are no devices', async () => {
    const answer = await dashboard()
    expect(answer.status).toBe(200)
    expect(answer.json).toEqual({
      status: 'success',
      timestamp: '2026-03-01T12:00:00Z',
      devices: {
        total: 0,
        online: 0,
        offline: 0,
        by_status: { active: 0, inactive: 0, maintenance: 0 },
        by_type: {},
      },
      messages: { last_minute: 0, last_hour: 0, last_day: 0 },
      // This process does not see every message.
      messages_per_minute: null,
      accounting: {
        received: 0,
        stored: 0,
        spooled: 0,
        rejected: 0,
        duplicates: 0,
        warned: 0,
        exact: true,
        difference: 0,
      },
      storage: { backend: 'embedded', status: 'healthy' },
      broker: { kind: 'none', connected: false, connections: null },
      spool: { depth: 0, oldest_age_s: null },
      dead_letters: { count: 0 },
      alerts: { open: { critical: 0, warning: 0, info: 0 }, opened_total: 0, newest: [] },
      events: [],
      last_seen: [],
    })
  })

  it('counts devices by status, by type and by whether they are online', async () => {
    wait(15)
    const sensor = await functions.register()
    await functions.register({ device_type: 'meter' })
    const off = await functions.register({ device_type: 'meter' })
    for (const { key } of [sensor, off])
      await functions.call('devices-heartbeat', 'POST', '/api/v1/devices/heartbeat', { key })
    await functions.call('admin-set-status', 'PUT', `/api/v1/admin/devices/${off.id}/status`, {
      admin: true,
      body: { status: 'inactive' },
    })
    const { json } = await dashboard()
    expect(json.devices).toEqual({
      total: 3,
      online: 1,
      offline: 2,
      by_status: { active: 2, inactive: 1, maintenance: 0 },
      by_type: { meter: 2, sensor: 1 },
    })
  })

  it('counts open alerts by severity, and shows the newest of those that nobody has acknowledged', async () => {
    const rule = await ruleOf(functions, {
      severity: 'critical',
      condition: { kind: 'no_data', for: '1m' },
      target: { device_type: 'pump' },
    })
    const pumps: Awaited<ReturnType<typeof functions.register>>[] = []
    for (let made = 0; made < 7; made += 1) pumps.push(await functions.register({ device_type: 'pump' }))
    wait(61)
    await functions.invoke('alerts-sweep', {})
    const [newest] = await alerts(functions, '?limit=1')
    await functions.call('admin-acknowledge-alert', 'POST', `${alertAddress}/${newest.id}/acknowledge`, {
      admin: true,
    })
    const { json } = await dashboard()
    expect(json.alerts).toMatchObject({ open: { critical: 7, warning: 0, info: 0 }, opened_total: 7 })
    expect(json.alerts.newest).toHaveLength(5)
    const [first, ...others] = pumps.map(({ name }) => name).reverse()
    expect(newest.device_name).toBe(first)
    expect(json.alerts.newest.map(({ device_name: name }: { device_name: string }) => name)).toEqual(
      others.slice(0, 5),
    )
    await functions.call('admin-delete-alert-rule', 'DELETE', `${ruleAddress}/${rule}`, { admin: true })
    for (const { id } of pumps)
      await functions.call('admin-delete', 'DELETE', `/api/v1/admin/devices/${id}`, { admin: true })
  })

  it('counts the readings of the last minute, hour and day', async () => {
    wait(15)
    const { key } = await functions.register()
    for (const secondsAgo of [0, 59, 61, 3599, 3601, 86_399, 86_401]) await send(key, secondsAgo)
    expect((await dashboard()).json.messages).toEqual({ last_minute: 2, last_hour: 4, last_day: 6 })
  })

  it('shows the ten devices that were seen last, newest first', async () => {
    const ids: number[] = []
    for (let n = 0; n < 11; n += 1) {
      wait(1)
      const { id, key } = await functions.register()
      await functions.call('devices-heartbeat', 'POST', '/api/v1/devices/heartbeat', { key })
      ids.unshift(id)
    }
    wait(15)
    const { last_seen } = (await dashboard()).json
    expect(last_seen.map(({ id }: { id: number }) => id)).toEqual(ids.slice(0, 10))
    expect(Object.keys(last_seen[0]).sort()).toEqual([
      'created_at',
      'description',
      'device_type',
      'firmware_version',
      'hardware_version',
      'id',
      'labels',
      'last_seen',
      'location',
      'name',
      'status',
      'timezone',
      'updated_at',
    ])
  })

  it('is counted at most every 15 seconds', async () => {
    wait(15)
    const { total } = (await dashboard()).json.devices
    await functions.register()
    wait(14)
    expect((await dashboard()).json.devices.total).toBe(total)
    wait(1)
    expect((await dashboard()).json.devices.total).toBe(total + 1)
  })

  it('has the same answer at its alias /api/v1/admin/stats', async () => {
    expect((await dashboard({ admin: true }, '/api/v1/admin/stats')).json).toEqual((await dashboard()).json)
  })

  itIsForAdminsOnly(
    () => functions,
    (options) => dashboard(options),
  )
})
