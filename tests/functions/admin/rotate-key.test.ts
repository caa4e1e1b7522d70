import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { type CallOptions, openFunctions, type TestFunctions } from '../../support/functions.ts'
import { connect } from '../../support/presence-events.ts'
import { type RecordingBroker, startRecordingBroker } from '../../support/recording-broker.ts'
import { itIsForAdminsOnly, itNeedsAKnownDevice } from './refusals.ts'

const noon = Date.parse('2026-03-01T12:00:00Z')

let functions: TestFunctions
let broker: RecordingBroker
beforeAll(async () => {
  vi.setSystemTime(noon)
  broker = await startRecordingBroker()
  functions = await openFunctions({ API_KEY_LENGTH: '64' }, broker.iot)
})
beforeEach(() => {
  vi.setSystemTime(noon)
  broker.clear()
})
afterAll(async () => {
  await functions.close()
  await broker.close()
  vi.useRealTimers()
})

const rotate = (id: number | string, options: CallOptions = { admin: true }) =>
  functions.call('admin-rotate-key', 'POST', `/api/v1/admin/devices/${id}/rotate-key`, options)

const statusCode = async (key: string) =>
  (await functions.call('devices-status', 'GET', '/api/v1/devices/status', { key })).status

describe('a rotation by the admin', () => {
  itIsForAdminsOnly(
    () => functions,
    async (options) => rotate((await functions.register()).id, options),
  )
  itNeedsAKnownDevice((id) => rotate(id))

  it('answers with the new key and the end of the previous one, a day later', async () => {
    const { id, key } = await functions.register()
    const answer = await rotate(id)
    expect(answer.status).toBe(200)
    expect(answer.json).toEqual({
      status: 'success',
      message: 'API key rotated successfully',
      device_id: id,
      api_key: expect.stringMatching(/^[A-Za-z0-9]{64}$/),
      previous_key_expires_at: '2026-03-02T12:00:00Z',
      expires_at: null,
    })
    const newKey = answer.json.api_key
    vi.setSystemTime(noon + 86_399_999)
    expect([await statusCode(key), await statusCode(newKey)]).toEqual([200, 200])
    vi.setSystemTime(noon + 86_400_000)
    expect([await statusCode(key), await statusCode(newKey)]).toEqual([401, 200])
  })

  it('keeps the newest key through the grace time and ends older ones at once', async () => {
    const { id, key: first } = await functions.register()
    const second = (await rotate(id)).json.api_key
    const third = (await rotate(id)).json.api_key
    expect([await statusCode(first), await statusCode(second), await statusCode(third)]).toEqual([
      401, 200, 200,
    ])
  })

  it.each([
    [{ ttl_s: 60 }, '2026-03-01T12:01:00Z'],
    [{ expires_at: '2026-03-01T14:00:00+01:00' }, '2026-03-01T13:00:00Z'],
  ])('gives the new key the end of %j', async (body, end) => {
    const { id } = await functions.register()
    const { json } = await rotate(id, { admin: true, body })
    expect(json.expires_at).toBe(end)
    vi.setSystemTime(Date.parse(end) - 1)
    expect(await statusCode(json.api_key)).toBe(200)
    vi.setSystemTime(Date.parse(end))
    expect(await statusCode(json.api_key)).toBe(401)
  })

  it.each([
    { ttl_s: 0 },
    { ttl_s: 1.5 },
    { expires_at: '2026-03-01T12:00:00Z' },
    { expires_at: '2026-03-01T13:00:00' },
    { expires_at: '2026-03-01T13:00:00Z', ttl_s: 60 },
  ])('answers 422 for %j, and leaves the key as it is', async (body) => {
    const { id, key } = await functions.register()
    expect((await rotate(id, { admin: true, body })).status).toBe(422)
    expect(await statusCode(key)).toBe(200)
  })

  it('gives a device without a live key a new one', async () => {
    const { id } = await functions.register()
    await functions.call('admin-revoke-key', 'POST', `/api/v1/admin/devices/${id}/revoke-key`, {
      admin: true,
    })
    const answer = await rotate(id)
    expect(answer.json.previous_key_expires_at).toBeNull()
    expect(await statusCode(answer.json.api_key)).toBe(200)
  })

  it('is told in the events', async () => {
    const { id } = await functions.register()
    const { api_key } = (await rotate(id, { admin: true, body: { grace_s: 60 } })).json
    const { json } = await functions.call('admin-events', 'GET', `/api/v1/admin/devices/${id}/events`, {
      admin: true,
    })
    expect(json.events[0]).toEqual({
      event: 'key_rotated',
      type: 'device.key_rotated',
      timestamp: '2026-03-01T12:00:00Z',
      detail: { by: 'admin', key_prefix: api_key.slice(0, 6), grace_s: 60 },
    })
  })

  it('ends MQTT connections only when a key ends at once', async () => {
    const { id, key } = await functions.register()
    await functions.invoke('mqtt-presence', connect(id, `${id}-a`))
    await rotate(id, { admin: true, body: { grace_s: 604_800 } })
    expect(broker.ended).toEqual([])
    await rotate(id, { admin: true, body: { grace_s: 0 } })
    expect([...broker.ended].sort()).toEqual([`${id}`, `${id}-a`])
    expect(await statusCode(key)).toBe(401)
  })

  it.each([-1, 604_801, 1.5, '60', null])('refuses the grace time %j', async (grace_s) => {
    const { id, key } = await functions.register()
    const answer = await rotate(id, { admin: true, body: { grace_s } })
    expect([answer.status, answer.json.error.details[0].path]).toEqual([422, 'grace_s'])
    expect(await statusCode(key)).toBe(200)
    const { json } = await functions.call('admin-show', 'GET', `/api/v1/admin/devices/${id}`, { admin: true })
    expect(json.auth_records).toHaveLength(1)
  })
})
