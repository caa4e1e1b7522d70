import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import * as runtime from '../../../lib/runtime.ts'
import { type CallOptions, openFunctions, type TestFunctions } from '../../support/functions.ts'

const noon = Date.parse('2026-03-01T12:00:00Z')

let functions: TestFunctions
beforeAll(async () => {
  vi.setSystemTime(noon)
  functions = await openFunctions({ OPEN_REGISTRATION: 'false' })
})
beforeEach(() => void vi.setSystemTime(noon))
afterAll(async () => {
  await functions.close()
  vi.useRealTimers()
})

const create = (body: unknown, options: CallOptions = { admin: true }) =>
  functions.call('admin-create-enrollment-key', 'POST', '/api/v1/admin/enrollment-keys', { ...options, body })
const show = async (id: number) => {
  const path = `/api/v1/admin/enrollment-keys/${id}`
  return (await functions.call('admin-show-enrollment-key', 'GET', path, { admin: true })).json.enrollment_key
}
const revoke = (id: number) =>
  functions.call('admin-revoke-enrollment-key', 'DELETE', `/api/v1/admin/enrollment-keys/${id}`, {
    admin: true,
  })

let made = 0
const register = (key: string | undefined, fields: object = {}) => {
  made += 1
  return functions.call('devices-register', 'POST', '/api/v1/devices/register', {
    body: { name: `enrolled ${made}`, device_type: 'sensor', ...fields },
    headers: key === undefined ? {} : { 'X-Enrollment-Key': key },
  })
}
const outcome = ({ status, json }: Awaited<ReturnType<typeof register>>) => [status, json.error?.code]

describe('an enrolment key', () => {
  it('opens registration, which is closed until there is one', async () => {
    expect(outcome(await register(undefined))).toEqual([503, 'ENROLLMENT_DISABLED'])
    expect(outcome(await register('wrong'))).toEqual([503, 'ENROLLMENT_DISABLED'])
    const { json } = await create({ name: 'first' })
    expect(outcome(await register(undefined))).toEqual([401, 'UNAUTHORIZED'])
    expect(outcome(await register('wrong'))).toEqual([401, 'UNAUTHORIZED'])
    expect(outcome(await register('w'.repeat(32)))).toEqual([401, 'UNAUTHORIZED'])
    expect((await register(json.key)).status).toBe(201)
    await revoke(json.enrollment_key.id)
    expect(outcome(await register(json.key))).toEqual([503, 'ENROLLMENT_DISABLED'])
  })

  it('is shown once, and stored as its digest', async () => {
    const answer = await create({ name: 'Batch 12', device_type: 'climate', max_devices: 3, ttl_s: 3600 })
    expect(answer.status).toBe(201)
    const { key, enrollment_key } = answer.json
    expect(answer.json).toEqual({
      status: 'success',
      message: 'Enrolment key created successfully',
      key: expect.stringMatching(/^[A-Za-z0-9]{32}$/),
      enrollment_key: {
        id: expect.any(Number),
        name: 'Batch 12',
        key_prefix: key.slice(0, 6),
        status: 'active',
        device_type: 'climate',
        max_devices: 3,
        used: 0,
        created_at: '2026-03-01T12:00:00Z',
        expires_at: '2026-03-01T13:00:00Z',
        last_used_at: null,
        revoked_at: null,
      },
    })
    const { db } = await runtime.registry()
    const rows = await db.all(sql`select * from enrollment_keys where id = ${enrollment_key.id}`)
    expect(JSON.stringify(rows)).not.toContain(key.slice(0, 7))
    expect(JSON.stringify(await show(enrollment_key.id))).not.toContain(key.slice(0, 7))
  })

  it('registers devices of its type only, and counts those that it has registered', async () => {
    const { key, enrollment_key } = (await create({ name: 'typed', device_type: 'climate' })).json
    const other = await register(key, { device_type: 'camera' })
    expect(outcome(other)).toEqual([403, 'FORBIDDEN'])
    expect(other.json.error.message).toContain('climate')
    vi.setSystemTime(noon + 1000)
    const { json } = await register(key, { device_type: 'climate', name: 'typed device' })
    expect(outcome(await register(key, { device_type: 'climate', name: 'typed device' }))).toEqual([
      409,
      'CONFLICT',
    ])
    expect(await show(enrollment_key.id)).toMatchObject({ used: 1, last_used_at: '2026-03-01T12:00:01Z' })
    const path = `/api/v1/admin/devices/${json.device.id}/events`
    const events = await functions.call('admin-events', 'GET', path, { admin: true })
    expect(events.json.events).toMatchObject([
      { event: 'registered', detail: { enrollment_key: enrollment_key.id } },
    ])
  })

  it('registers exactly as many devices as it may, also when they come at the same time', async () => {
    const { key, enrollment_key } = (await create({ name: 'counted', max_devices: 7 })).json
    const answers = await Promise.all(Array.from({ length: 20 }, () => register(key)))
    const statuses = answers.map(({ status }) => status).sort()
    expect(statuses).toEqual([...Array(7).fill(201), ...Array(13).fill(403)])
    expect(await show(enrollment_key.id)).toMatchObject({ used: 7, status: 'used_up' })
    expect(outcome(await register(key))).toEqual([403, 'FORBIDDEN'])
    const { db } = await runtime.registry()
    const [row] = await db.all<{ devices: number; keys: number }>(sql`select
      (select count(*) from events where detail ->> 'enrollment_key' = ${enrollment_key.id}) as devices,
      (select count(*) from devices where id not in (select device_id from credentials)) as keys`)
    expect(row).toEqual({ devices: 7, keys: 0 })
  })

  it('ends at its time, which only those hear who have it', async () => {
    const { key } = (await create({ name: 'short', expires_at: '2026-03-01T14:00:00+01:00' })).json
    await create({ name: 'another' })
    vi.setSystemTime(noon + 3_599_999)
    expect((await register(key)).status).toBe(201)
    vi.setSystemTime(noon + 3_600_000)
    const answer = await register(key)
    expect(outcome(answer)).toEqual([401, 'UNAUTHORIZED'])
    expect(answer.json.error.message).toBe('The enrolment key has expired.')
  })

  it('that is revoked is as unknown as a wrong one', async () => {
    await create({ name: 'another' })
    const { key, enrollment_key } = (await create({ name: 'lost' })).json
    await revoke(enrollment_key.id)
    const [revoked, wrong] = [await register(key), await register('w'.repeat(32))]
    const { request_id: _one, ...error } = revoked.json.error
    const { request_id: _other, ...same } = wrong.json.error
    expect([revoked.status, error]).toEqual([wrong.status, same])
  })
})

describe('a request for an enrolment key', () => {
  it('is answered to admins only', async () => {
    for (const options of [{}, { key: 'k'.repeat(32) }, { headers: { Authorization: 'Bearer wrong' } }])
      expect((await create({ name: 'for admins' }, options)).status).toBe(401)
  })

  it.each([
    [{}, 'name'],
    [{ name: '' }, 'name'],
    [{ name: 'x', max_devices: 0 }, 'max_devices'],
    [{ name: 'x', ttl_s: 0 }, 'ttl_s'],
    [{ name: 'x', expires_at: 'tomorrow' }, 'expires_at'],
    [{ name: 'x', expires_at: '2026-03-01T12:00:00Z' }, 'expires_at'],
    [{ name: 'x', expires_at: '2027-01-01T00:00:00Z', ttl_s: 5 }, 'expires_at'],
  ])('answers 422 for %j', async (body, path) => {
    const answer = await create(body)
    expect([answer.status, answer.json.error.details[0].path]).toEqual([422, path])
  })

  it('is refused when there are a thousand keys, until some are revoked', async () => {
    const { db } = await runtime.registry()
    await db.run(sql`insert into enrollment_keys (name, key_hash, key_prefix, created_at)
      with recursive n(i) as (select 1 union all select i + 1 from n where i < 1000)
      select 'filler', 'hash ' || i, 'prefix', 0 from n`)
    expect(outcome(await create({ name: 'one more' }))).toEqual([409, 'CONFLICT'])
    await db.run(sql`update enrollment_keys set revoked_at = 0 where name = 'filler'`)
    expect((await create({ name: 'one more' })).status).toBe(201)
    const [left] = await db.all<{ n: number }>(
      sql`select count(*) as n from enrollment_keys where name = 'filler'`,
    )
    expect(left?.n).toBe(0)
  })
})
