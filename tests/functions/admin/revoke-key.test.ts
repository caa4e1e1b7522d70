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
  functions = await openFunctions({}, broker.iot)
})
beforeEach(() => {
  vi.setSystemTime(noon)
  broker.clear()
  broker.unavailable = false
})
afterAll(async () => {
  await functions.close()
  await broker.close()
  vi.useRealTimers()
})

const revoke = (id: number | string, options: CallOptions = { admin: true }) =>
  functions.call('admin-revoke-key', 'POST', `/api/v1/admin/devices/${id}/revoke-key`, options)

const rotate = async (key: string, grace_s = 3600): Promise<string> =>
  (
    await functions.call('devices-rotate-key', 'POST', '/api/v1/devices/rotate-key', {
      key,
      body: { grace_s },
    })
  ).json.api_key

const statusCode = async (key: string) =>
  (await functions.call('devices-status', 'GET', '/api/v1/devices/status', { key })).status

const eventsOf = async (id: number) =>
  (await functions.call('admin-events', 'GET', `/api/v1/admin/devices/${id}/events`, { admin: true })).json
    .events

describe('a revocation', () => {
  itIsForAdminsOnly(
    () => functions,
    async (options) => revoke((await functions.register()).id, options),
  )
  itNeedsAKnownDevice((id) => revoke(id))

  it('ends all keys of the device at once', async () => {
    const { id, key: first } = await functions.register()
    const second = await rotate(first)
    broker.clear()
    const answer = await revoke(id)
    expect(answer.status).toBe(200)
    expect(answer.json).toEqual({
      status: 'success',
      message: 'API key revoked successfully',
      device_id: id,
      revoked_keys: 2,
      sessions_ended: 0,
    })
    expect([await statusCode(first), await statusCode(second)]).toEqual([401, 401])
  })

  it('ends only the key with the named prefix', async () => {
    const { id, key: first } = await functions.register()
    const second = await rotate(first)
    const answer = await revoke(id, { admin: true, body: { key_prefix: first.slice(0, 6) } })
    expect(answer.json.revoked_keys).toBe(1)
    expect([await statusCode(first), await statusCode(second)]).toEqual([401, 200])
  })

  it('leaves the keys of other devices', async () => {
    const { id } = await functions.register()
    const other = await functions.register()
    await revoke(id)
    expect(await statusCode(other.key)).toBe(200)
    const answer = await revoke(id, { admin: true, body: { key_prefix: other.key.slice(0, 6) } })
    expect([answer.status, answer.json.error.message]).toEqual([
      404,
      'The device has no live key with this prefix.',
    ])
    expect(await statusCode(other.key)).toBe(200)
  })

  it('of a device without a live key changes nothing', async () => {
    const { id, key } = await functions.register()
    await revoke(id)
    const events = await eventsOf(id)
    expect((await revoke(id)).json.revoked_keys).toBe(0)
    expect((await revoke(id, { admin: true, body: { key_prefix: key.slice(0, 6) } })).status).toBe(404)
    expect(await eventsOf(id)).toEqual(events)
  })

  it('is told in the events, with no more of the key than its prefix', async () => {
    const { id, key } = await functions.register()
    await revoke(id)
    expect((await eventsOf(id))[0]).toEqual({
      event: 'key_revoked',
      type: 'device.key_revoked',
      timestamp: '2026-03-01T12:00:00Z',
      detail: { key_prefixes: [key.slice(0, 6)] },
    })
  })

  it('ends the MQTT connections of the device', async () => {
    const { id } = await functions.register()
    await functions.invoke('mqtt-presence', connect(id, `${id}-a`))
    expect((await revoke(id)).json.sessions_ended).toBe(1)
    expect([...broker.ended].sort()).toEqual([`${id}`, `${id}-a`])
  })

  it('ends the keys although the broker is unavailable', async () => {
    const { id, key } = await functions.register()
    broker.unavailable = true
    const answer = await revoke(id)
    expect([answer.status, answer.json.sessions_ended]).toEqual([200, null])
    expect(await statusCode(key)).toBe(401)
  })

  it.each<[string, unknown, number, string[]]>([
    ['a prefix that is too short', { key_prefix: 'abcde' }, 422, ['key_prefix']],
    ['a prefix that is too long', { key_prefix: 'abcdefg' }, 422, ['key_prefix']],
    ['a prefix with other characters', { key_prefix: 'abc%_-' }, 422, ['key_prefix']],
    ['the prefix null', { key_prefix: null }, 422, ['key_prefix']],
    ['a list', [], 422, ['']],
    ['broken JSON', '{', 400, []],
  ])('refuses %s', async (_what, body, code, paths) => {
    const { id, key } = await functions.register()
    const answer = await revoke(id, { admin: true, body })
    const named = (answer.json.error.details ?? []).map(({ path }: { path: string }) => path)
    expect([answer.status, named]).toEqual([code, paths])
    expect(await statusCode(key)).toBe(200)
  })
})
