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

const rotate = (options: CallOptions) =>
  layer.call('devices-rotate-key', 'POST', '/api/v1/devices/rotate-key', options)

const rotated = async (key: string, body?: unknown): Promise<string> =>
  (await rotate({ key, body })).json.api_key

const statusOf = async (key: string) =>
  (await layer.call('devices-status', 'GET', '/api/v1/devices/status', { key })).status

describe('a rotation', () => {
  itIsForActiveDevices(() => layer, rotate)

  it('is answered with the new key and the end of the one before, a day away', async () => {
    const { key } = await layer.register()
    const answer = await rotate({ key })
    expect(answer.status).toBe(200)
    expect(answer.json).toEqual({
      message: 'API key rotated successfully',
      api_key: expect.stringMatching(/^[A-Za-z0-9]{32}$/),
      previous_key_expires_at: '2026-03-02T12:00:00Z',
    })
    expect(answer.json.api_key).not.toBe(key)
    vi.setSystemTime(noon + 86_399_999)
    expect([await statusOf(key), await statusOf(answer.json.api_key)]).toEqual([200, 200])
    vi.setSystemTime(noon + 86_400_000)
    expect([await statusOf(key), await statusOf(answer.json.api_key)]).toEqual([401, 200])
  })

  it('without grace ends the key before at once', async () => {
    const { key } = await layer.register()
    const answer = await rotate({ key, body: { grace_s: 0 } })
    expect(answer.json.previous_key_expires_at).toBe('2026-03-01T12:00:00Z')
    expect([await statusOf(key), await statusOf(answer.json.api_key)]).toEqual([401, 200])
  })

  it('leaves the key that asked and the new one, and ends any other', async () => {
    const { key: first } = await layer.register()
    const second = await rotated(first)
    const third = await rotated(second)
    expect([await statusOf(first), await statusOf(second), await statusOf(third)]).toEqual([401, 200, 200])
    // The answer with the third was lost, say: the device asks again with the one it has.
    const fourth = await rotated(second)
    expect([await statusOf(second), await statusOf(third), await statusOf(fourth)]).toEqual([200, 401, 200])
  })

  it('gives no key more time than it has', async () => {
    const { key } = await layer.register()
    await rotate({ key, body: { grace_s: 60 } })
    const again = await rotate({ key, body: { grace_s: 604_800 } })
    expect(again.json.previous_key_expires_at).toBe('2026-03-01T12:01:00Z')
  })

  it('is told to operators without a key', async () => {
    const { id, key } = await layer.register()
    const newKey = await rotated(key, { grace_s: 60 })
    const show = (name: string, path: string) =>
      layer.call(name, 'GET', `/api/v1/admin/devices/${id}${path}`, { admin: true })
    const [device, events] = [await show('admin-show', ''), await show('admin-events', '/events')]
    expect(events.json.events[0]).toEqual({
      event: 'key_rotated',
      timestamp: '2026-03-01T12:00:00Z',
      detail: { by: 'device', key_prefix: newKey.slice(0, 6), grace_s: 60 },
    })
    expect(device.json.auth_records).toMatchObject([
      { key_prefix: newKey.slice(0, 6), is_active: true, expires_at: null },
      { key_prefix: key.slice(0, 6), is_active: true, expires_at: '2026-03-01T12:01:00Z' },
    ])
    for (const part of [key, newKey].map((one) => one.slice(0, 7)))
      expect(device.text + events.text).not.toContain(part)
  })

  it.each([-1, 604_801, 1.5, '60', null])('with a grace of %j is refused', async (grace_s) => {
    const { key } = await layer.register()
    const answer = await rotate({ key, body: { grace_s } })
    expect([answer.status, answer.json.error.details[0].path]).toEqual([422, 'grace_s'])
    const device = await layer.call('devices-status', 'GET', '/api/v1/devices/status', { key })
    expect(device.status).toBe(200)
  })
})
