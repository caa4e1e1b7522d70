import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { type CallOptions, type Layer, openLayer } from '../../support/layer.ts'
import { itIsForActiveDevices } from './refusals.ts'

const noon = Date.parse('2026-03-01T12:00:00Z')

let layer: Layer
beforeAll(async () => {
  vi.setSystemTime(noon)
  layer = await openLayer()
})
beforeEach(() => {
  vi.setSystemTime(noon)
})
afterAll(async () => {
  await layer.close()
  vi.useRealTimers()
})

const update = (options: CallOptions) =>
  layer.call('devices-update', 'PUT', '/api/v1/devices/config', options)

const status = async (key: string) =>
  (await layer.call('devices-status', 'GET', '/api/v1/devices/status', { key })).json.device

describe('what a device says of itself', () => {
  itIsForActiveDevices(
    () => layer,
    (options) => update({ body: { location: 'Roof' }, ...options }),
  )

  it('is answered with the device as it is now, and kept', async () => {
    const { id, key, name } = await layer.register({ location: 'Cellar', description: 'old' })
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
        created_at: '2026-03-01T12:00:00Z',
        updated_at: '2026-03-01T12:01:00Z',
        last_seen: '2026-03-01T12:01:00Z',
      },
    })
    expect(await status(key)).toMatchObject(answer.json.device)
  })

  it('leaves what it does not name, and what is not its own to say', async () => {
    const { key, name } = await layer.register({ location: 'Cellar', firmware_version: '1.0' })
    const body = { hardware_version: 'B', name: 'mine', device_type: 'king', id: 99, offline_after_s: 1 }
    expect((await update({ key, body })).status).toBe(200)
    expect(await status(key)).toMatchObject({
      name,
      device_type: 'sensor',
      location: 'Cellar',
      firmware_version: '1.0',
      hardware_version: 'B',
      offline_after_s: 300,
    })
  })

  it('changes nothing when it says nothing', async () => {
    const { key } = await layer.register()
    vi.setSystemTime(noon + 60_000)
    expect((await update({ key, body: {} })).json.device).toMatchObject({
      updated_at: '2026-03-01T12:00:00Z',
      last_seen: '2026-03-01T12:01:00Z',
    })
  })

  it('is told to operators, with who said it', async () => {
    const { id, key } = await layer.register()
    await update({ key, body: { status: 'maintenance', location: 'Roof' } })
    await update({ key, body: { status: 'maintenance' } })
    const { events } = (
      await layer.call('admin-events', 'GET', `/api/v1/admin/devices/${id}/events`, { admin: true })
    ).json
    const timestamp = '2026-03-01T12:00:00Z'
    expect(events).toEqual([
      { event: 'status', timestamp, detail: { by: 'device', from: 'active', to: 'maintenance' } },
      { event: 'updated', timestamp, detail: { by: 'device', fields: ['location'] } },
      { event: 'registered', timestamp, detail: null },
    ])
  })

  it.each<[string, unknown, number, string[]]>([
    ['is inactive', { status: 'inactive', location: 'Roof' }, 422, ['status']],
    ['has no words for it', { status: 'asleep', location: ['Roof'] }, 422, ['status', 'location']],
    ['is no object', [], 422, ['']],
    ['is broken', '{', 400, []],
  ])('is refused when it %s', async (_what, body, code, paths) => {
    const { key } = await layer.register({ location: 'Cellar' })
    const answer = await update({ key, body })
    const named = (answer.json.error.details ?? []).map(({ path }: { path: string }) => path)
    expect([answer.status, named.sort()]).toEqual([code, [...paths].sort()])
    expect(await status(key)).toMatchObject({ status: 'active', location: 'Cellar' })
  })
})
