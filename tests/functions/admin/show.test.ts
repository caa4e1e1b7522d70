import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { type CallOptions, openFunctions, type TestFunctions } from '../../support/functions.ts'
import { itIsForAdminsOnly, itNeedsAKnownDevice } from './refusals.ts'

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

const show = (id: number | string, options: CallOptions = { admin: true }) =>
  functions.call('admin-show', 'GET', `/api/v1/admin/devices/${id}`, options)

describe('one device', () => {
  itIsForAdminsOnly(
    () => functions,
    async (options) => show((await functions.register()).id, options),
  )
  itNeedsAKnownDevice((id) => show(id))

  it('shows every documented part right after its registration', async () => {
    const { id, key, name } = await functions.register({ description: 'On the mast' })
    const answer = await show(id)
    expect(answer.status).toBe(200)
    expect(answer.json).toEqual({
      status: 'success',
      device: {
        id,
        name,
        description: 'On the mast',
        device_type: 'sensor',
        status: 'active',
        location: null,
        firmware_version: null,
        hardware_version: null,
        labels: {},
        timezone: null,
        created_at: '2026-03-01T12:00:00Z',
        updated_at: '2026-03-01T12:00:00Z',
        last_seen: null,
        is_online: false,
        offline_after_s: 300,
        telemetry_count: 0,
        desired_version: 0,
        reported_version: null,
      },
      auth_records: [
        {
          key_prefix: key.slice(0, 6),
          is_active: true,
          created_at: '2026-03-01T12:00:00Z',
          expires_at: null,
          last_used: null,
          last_used_at: null,
          revoked_at: null,
        },
      ],
      configurations: { version: 0, reported_version: null, reported_at: null, configuration: {} },
      accounting: { received: 0, stored: 0, spooled: 0, rejected: 0, duplicates: 0, warned: 0, exact: true },
    })
  })

  it('never shows more of a key than its first six characters', async () => {
    const { id, key } = await functions.register()
    expect((await show(id)).text).not.toContain(key.slice(0, 7))
  })

  it('counts the stored readings and accounts for the refused ones', async () => {
    const { id, key } = await functions.register()
    const other = await functions.register()
    const send = (body: unknown, key: string) =>
      functions.call('telemetry-submit', 'POST', '/api/v1/devices/telemetry', { key, body })
    await send({ data: { t: 1 } }, key)
    await send('{"t":', key)
    await send({ data: { t: 1 } }, other.key)
    const { json } = await show(id)
    expect(json.device.telemetry_count).toBe(1)
    expect(json.accounting).toEqual({
      received: 2,
      stored: 1,
      spooled: 0,
      rejected: 1,
      duplicates: 0,
      warned: 0,
      exact: true,
    })
  })

  it('shows the newest key first, each with its end', async () => {
    const { id, key: first } = await functions.register()
    const rotate = async (key: string, grace_s: number): Promise<string> =>
      (
        await functions.call('devices-rotate-key', 'POST', '/api/v1/devices/rotate-key', {
          key,
          body: { grace_s },
        })
      ).json.api_key
    const second = await rotate(first, 60)
    const third = await rotate(second, 120)
    const records = (await show(id)).json.auth_records
    expect(records).toMatchObject([
      { key_prefix: third.slice(0, 6), is_active: true, expires_at: null, revoked_at: null },
      { key_prefix: second.slice(0, 6), is_active: true, expires_at: '2026-03-01T12:02:00Z' },
      { key_prefix: first.slice(0, 6), is_active: false, revoked_at: '2026-03-01T12:00:00Z' },
    ])
    vi.setSystemTime(noon + 120_000)
    expect((await show(id)).json.auth_records[1]).toMatchObject({ is_active: false, revoked_at: null })
  })
})
