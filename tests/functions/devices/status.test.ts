import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { type CallOptions, openFunctions, type TestFunctions } from '../../support/functions.ts'
import { itIsForActiveDevices } from './refusals.ts'

const noon = Date.parse('2026-03-01T12:00:00Z')

let functions: TestFunctions
beforeAll(async () => {
  vi.setSystemTime(noon)
  functions = await openFunctions()
})
beforeEach(() => {
  vi.setSystemTime(noon)
})
afterAll(async () => {
  await functions.close()
  vi.useRealTimers()
})

const status = (options: CallOptions) =>
  functions.call('devices-status', 'GET', '/api/v1/devices/status', options)

const send = (key: string, body: unknown) =>
  functions.call('telemetry-submit', 'POST', '/api/v1/devices/telemetry', { key, body })

describe('the status of a device', () => {
  itIsForActiveDevices(() => functions, status)

  it('has every documented field, and no key', async () => {
    const { id, key, name } = await functions.register({ location: 'Roof', firmware_version: '1.2.0' })
    const answer = await status({ key })
    expect(answer.status).toBe(200)
    expect(answer.json).toEqual({
      status: 'success',
      device: {
        id,
        name,
        description: null,
        device_type: 'sensor',
        status: 'active',
        location: 'Roof',
        firmware_version: '1.2.0',
        hardware_version: null,
        labels: {},
        timezone: null,
        created_at: '2026-03-01T12:00:00Z',
        updated_at: '2026-03-01T12:00:00Z',
        last_seen: null,
        is_online: false,
        offline_after_s: 300,
        telemetry_count: 0,
      },
    })
  })

  it('counts the readings of this device only, which also make it online', async () => {
    const { key } = await functions.register()
    const other = await functions.register()
    await send(key, { data: { a: 1 } })
    await send(key, [{ data: { a: 2 }, timestamp: '2026-03-01T11:00:00Z' }, { data: { a: [] } }])
    await send(other.key, { data: { a: 1 } })
    expect((await status({ key })).json.device).toMatchObject({
      telemetry_count: 2,
      is_online: true,
      last_seen: '2026-03-01T12:00:00Z',
    })
  })

  it('does not make the device online', async () => {
    const { key } = await functions.register()
    await status({ key })
    expect((await status({ key })).json.device).toMatchObject({ is_online: false, last_seen: null })
  })

  it('uses the offline_after_s of the device', async () => {
    const { id, key } = await functions.register()
    await functions.call('admin-update', 'PUT', `/api/v1/admin/devices/${id}`, {
      admin: true,
      body: { offline_after_s: 10 },
    })
    await send(key, { data: { a: 1 } })
    vi.setSystemTime(noon + 9999)
    expect((await status({ key })).json.device).toMatchObject({ offline_after_s: 10, is_online: true })
    vi.setSystemTime(noon + 10_000)
    expect((await status({ key })).json.device.is_online).toBe(false)
  })
})
