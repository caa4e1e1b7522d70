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

const rotate = (options: CallOptions) =>
  functions.call('devices-rotate-key', 'POST', '/api/v1/devices/rotate-key', options)

const rotated = async (key: string, body?: unknown): Promise<string> =>
  (await rotate({ key, body })).json.api_key

const statusOf = async (key: string) =>
  (await functions.call('devices-status', 'GET', '/api/v1/devices/status', { key })).status

describe('a rotation', () => {
  itIsForActiveDevices(() => functions, rotate)

  it('is answered with the new key and the end of the previous one, a day later', async () => {
    const { key } = await functions.register()
    const answer = await rotate({ key })
    expect(answer.status).toBe(200)
    expect(answer.json).toEqual({
      message: 'API key rotated successfully',
      api_key: expect.stringMatching(/^[A-Za-z0-9]{32}$/),
      previous_key_expires_at: '2026-03-02T12:00:00Z',
      expires_at: null,
    })
    expect(answer.json.api_key).not.toBe(key)
    vi.setSystemTime(noon + 86_399_999)
    expect([await statusOf(key), await statusOf(answer.json.api_key)]).toEqual([200, 200])
    vi.setSystemTime(noon + 86_400_000)
    expect([await statusOf(key), await statusOf(answer.json.api_key)]).toEqual([401, 200])
  })

  it('without grace time ends the previous key at once', async () => {
    const { key } = await functions.register()
    const answer = await rotate({ key, body: { grace_s: 0 } })
    expect(answer.json.previous_key_expires_at).toBe('2026-03-01T12:00:00Z')
    expect([await statusOf(key), await statusOf(answer.json.api_key)]).toEqual([401, 200])
  })

  it('keeps the key of the request and the new one, and ends all others', async () => {
    const { key: first } = await functions.register()
    const second = await rotated(first)
    const third = await rotated(second)
    expect([await statusOf(first), await statusOf(second), await statusOf(third)]).toEqual([401, 200, 200])
    // If the answer with the third key was lost, the device asks again with its old key.
    const fourth = await rotated(second)
    expect([await statusOf(second), await statusOf(third), await statusOf(fourth)]).toEqual([200, 401, 200])
  })

  it('does not extend the life of a key', async () => {
    const { key } = await functions.register()
    await rotate({ key, body: { grace_s: 60 } })
    const again = await rotate({ key, body: { grace_s: 604_800 } })
    expect(again.json.previous_key_expires_at).toBe('2026-03-01T12:01:00Z')
  })

  it('of a key with an end gives the next one as long a life as that was to have', async () => {
    const { id } = await functions.register()
    const path = `/api/v1/admin/devices/${id}/rotate-key`
    const body = { ttl_s: 3600 }
    const { api_key: first } = (await functions.call('admin-rotate-key', 'POST', path, { admin: true, body }))
      .json
    vi.setSystemTime(noon + 3_000_000)
    const second = await rotate({ key: first, body: { grace_s: 60 } })
    expect(second.json.expires_at).toBe('2026-03-01T13:50:00Z')
    // The grace has shortened the first key, not the life of those after it.
    expect((await rotate({ key: first })).json.expires_at).toBe('2026-03-01T13:50:00Z')
  })

  it('is shown to the admin with no more than the prefix of a key', async () => {
    const { id, key } = await functions.register()
    const newKey = await rotated(key, { grace_s: 60 })
    const show = (name: string, path: string) =>
      functions.call(name, 'GET', `/api/v1/admin/devices/${id}${path}`, { admin: true })
    const [device, events] = [await show('admin-show', ''), await show('admin-events', '/events')]
    expect(events.json.events[0]).toEqual({
      event: 'key_rotated',
      type: 'device.key_rotated',
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

  it.each([-1, 604_801, 1.5, '60', null])('with the grace time %j is refused', async (grace_s) => {
    const { key } = await functions.register()
    const answer = await rotate({ key, body: { grace_s } })
    expect([answer.status, answer.json.error.details[0].path]).toEqual([422, 'grace_s'])
    const device = await functions.call('devices-status', 'GET', '/api/v1/devices/status', { key })
    expect(device.status).toBe(200)
  })
})
