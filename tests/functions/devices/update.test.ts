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

const update = (options: CallOptions) =>
  functions.call('devices-update', 'PUT', '/api/v1/devices/config', options)

const status = async (key: string) =>
  (await functions.call('devices-status', 'GET', '/api/v1/devices/status', { key })).json.device

describe('an update by the device', () => {
  itIsForActiveDevices(
    () => functions,
    (options) => update({ body: { location: 'Roof' }, ...options }),
  )

  it('is answered with the changed device, and stored', async () => {
    const { id, key, name } = await functions.register({ location: 'Cellar', description: 'old' })
    vi.setSystemTime(noon + 60_000)
    const answer = await update({
      key,
      body: { status: 'maintenance', location: ' Roof ', firmware_version: '2.0', description: null },
    })
    expect(answer.status).toBe(200)
    expect(answer.json).toEqual({
      message: 'Device updated successfully',
      device: {
        id,
        name,
        description: null,
        device_type: 'sensor',
        status: 'maintenance',
        location: 'Roof',
        firmware_version: '2.0',
        hardware_version: null,
        labels: {},
        timezone: null,
        created_at: '2026-03-01T12:00:00Z',
        updated_at: '2026-03-01T12:01:00Z',
        last_seen: '2026-03-01T12:01:00Z',
      },
    })
    expect(await status(key)).toMatchObject(answer.json.device)
  })

  it('keeps fields that it does not name, and ignores fields that only the admin may change', async () => {
    const { key, name } = await functions.register({
      location: 'Cellar',
      firmware_version: '1.0',
      labels: { site: 'north' },
    })
    const body = {
      hardware_version: 'B',
      timezone: 'Asia/Tokyo',
      name: 'mine',
      device_type: 'king',
      id: 99,
      offline_after_s: 1,
      labels: { site: 'south', more: 'x' },
    }
    expect((await update({ key, body })).status).toBe(200)
    expect(await status(key)).toMatchObject({
      name,
      device_type: 'sensor',
      location: 'Cellar',
      firmware_version: '1.0',
      hardware_version: 'B',
      timezone: 'Asia/Tokyo',
      offline_after_s: 300,
      labels: { site: 'north' },
    })
  })

  it('changes nothing when it is empty', async () => {
    const { key } = await functions.register()
    vi.setSystemTime(noon + 60_000)
    expect((await update({ key, body: {} })).json.device).toMatchObject({
      updated_at: '2026-03-01T12:00:00Z',
      last_seen: '2026-03-01T12:01:00Z',
    })
  })

  it('is shown in the events, with the device as its author', async () => {
    const { id, key } = await functions.register()
    await update({ key, body: { status: 'maintenance', location: 'Roof' } })
    await update({ key, body: { status: 'maintenance' } })
    const { events } = (
      await functions.call('admin-events', 'GET', `/api/v1/admin/devices/${id}/events`, { admin: true })
    ).json
    const timestamp = '2026-03-01T12:00:00Z'
    expect(events).toEqual([
      {
        event: 'status',
        type: 'device.status',
        timestamp,
        detail: { by: 'device', from: 'active', to: 'maintenance' },
      },
      { event: 'updated', type: 'device.updated', timestamp, detail: { by: 'device', fields: ['location'] } },
      { event: 'registered', type: 'device.registered', timestamp, detail: null },
    ])
  })

  it.each<[string, unknown, number, string[]]>([
    ['is inactive', { status: 'inactive', location: 'Roof' }, 422, ['status']],
    ['has no words for it', { status: 'asleep', location: ['Roof'] }, 422, ['status', 'location']],
    ['is no object', [], 422, ['']],
    ['is broken', '{', 400, []],
  ])('is refused when it %s', async (_what, body, code, paths) => {
    const { key } = await functions.register({ location: 'Cellar' })
    const answer = await update({ key, body })
    const named = (answer.json.error.details ?? []).map(({ path }: { path: string }) => path)
    expect([answer.status, named.sort()]).toEqual([code, [...paths].sort()])
    expect(await status(key)).toMatchObject({ status: 'active', location: 'Cellar' })
  })
})
