import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import type { CallOptions, TestFunctions } from '../../support/functions.ts'

let functions: TestFunctions
/** Functions keep the services of their first call, so other settings need newly loaded modules. */
const open = async (settings: Record<string, string>) => {
  vi.resetModules()
  functions = await (await import('../../support/functions.ts')).openFunctions(settings)
}

const register = (options: CallOptions) =>
  functions.call('devices-register', 'POST', '/api/v1/devices/register', options)

const status = async (key: string) =>
  (await functions.call('devices-status', 'GET', '/api/v1/devices/status', { key })).json?.device

beforeAll(() => {
  vi.setSystemTime(Date.parse('2026-03-01T12:00:00Z'))
})
afterAll(() => {
  vi.useRealTimers()
})

describe('a registration', () => {
  beforeAll(() => open({ API_KEY_LENGTH: '40' }))
  afterAll(() => functions.close())
  const total = async () =>
    (await functions.call('admin-list', 'GET', '/api/v1/admin/devices', { admin: true })).json.total_devices

  it('is answered with the device and a key that is accepted', async () => {
    const answer = await register({
      body: {
        name: ' greenhouse-1 ',
        device_type: 'climate',
        location: 'Greenhouse',
        timezone: 'America/New_York',
        surplus: true,
      },
    })
    expect(answer.status).toBe(201)
    expect(answer.json).toEqual({
      message: 'Device registered successfully',
      device: {
        id: expect.any(Number),
        name: 'greenhouse-1',
        api_key: expect.stringMatching(/^[A-Za-z0-9]{40}$/),
        description: null,
        device_type: 'climate',
        status: 'active',
        location: 'Greenhouse',
        firmware_version: null,
        hardware_version: null,
        labels: {},
        timezone: 'America/New_York',
        created_at: '2026-03-01T12:00:00Z',
        updated_at: '2026-03-01T12:00:00Z',
        last_seen: null,
      },
    })
    const { api_key: key, ...device } = answer.json.device
    expect(await status(key)).toMatchObject(device)
  })

  it('with a taken name is refused, and the existing device stays unchanged', async () => {
    const { id, key } = await functions.register({ name: 'pump', location: 'Cellar' })
    const before = await total()
    const answer = await register({ body: { name: 'pump ', device_type: 'other', location: 'Roof' } })
    expect(answer.status).toBe(409)
    expect(answer.json.error).toMatchObject({
      code: 'CONFLICT',
      details: [{ path: 'name', message: 'is taken' }],
    })
    expect(answer.text).not.toContain('api_key')
    expect(await status(key)).toMatchObject({ id, device_type: 'sensor', location: 'Cellar' })
    expect(await total()).toBe(before)
  })

  it('may name labels, of which null and an empty object are none', async () => {
    const labelsOf = async (labels: unknown) =>
      (await register({ body: { name: `with ${JSON.stringify(labels)}`, device_type: 't', labels } })).json
        .device.labels
    expect(await labelsOf({ site: 'north', constructor: '' })).toEqual({ site: 'north', constructor: '' })
    expect(await labelsOf(null)).toEqual({})
    expect(await labelsOf({})).toEqual({})
  })

  it('keeps a description with half a pair of surrogates, which becomes U+FFFD', async () => {
    const answer = await register({ body: { name: 'half', device_type: 't', description: 'a\ud800b' } })
    expect(answer.json.device.description).toBe('a\ufffdb')
    expect(await status(answer.json.device.api_key)).toMatchObject({ description: 'a\ufffdb' })
  })

  it.each<[string, CallOptions, number, string, string[]]>([
    [
      'labels that are none',
      { body: { name: 'bad labels', device_type: 't', labels: { ' site': 'a', floor: null, ok: 'x y' } } },
      422,
      'VALIDATION_FAILED',
      ['labels. site', 'labels.floor', 'labels.ok'],
    ],
    [
      '33 labels',
      {
        body: {
          name: 'many labels',
          device_type: 't',
          labels: Object.fromEntries(Array.from({ length: 33 }, (_, n) => [`k${n}`, ''])),
        },
      },
      422,
      'VALIDATION_FAILED',
      ['labels'],
    ],
    ['no body', {}, 400, 'MALFORMED_JSON', []],
    ['broken JSON', { body: '{"name":' }, 400, 'MALFORMED_JSON', []],
    [
      'another content type',
      { body: 'name=a', headers: { 'Content-Type': 'application/x-www-form-urlencoded' } },
      415,
      'UNSUPPORTED_MEDIA_TYPE',
      [],
    ],
    ['a list', { body: [] }, 422, 'VALIDATION_FAILED', ['']],
    ['nothing it needs', { body: {} }, 422, 'VALIDATION_FAILED', ['name', 'device_type']],
    [
      'texts it cannot keep',
      {
        body: {
          name: '  ',
          device_type: 'a\nb',
          description: 'x'.repeat(1025),
          location: 7,
          firmware_version: 'x'.repeat(65),
          timezone: 'Mars/Olympus_Mons',
        },
      },
      422,
      'VALIDATION_FAILED',
      ['name', 'device_type', 'description', 'location', 'firmware_version', 'timezone'],
    ],
  ])('with %s is refused', async (_what, options, status, code, paths) => {
    const before = await total()
    const answer = await register(options)
    const { error } = answer.json
    expect([answer.status, error.code]).toEqual([status, code])
    const named = (error.details ?? []).map(({ path }: { path: string }) => path)
    expect(named.sort()).toEqual([...paths].sort())
    expect(await total()).toBe(before)
  })
})

describe('the right to register', () => {
  afterEach(() => functions.close())
  const body = { name: 'a', device_type: 'sensor' }

  it('is given to nobody without ENROLLMENT_KEY and OPEN_REGISTRATION', async () => {
    await open({ OPEN_REGISTRATION: 'false' })
    const answer = await register({ body, headers: { 'X-Enrollment-Key': '' }, admin: true })
    expect([answer.status, answer.json.error.code]).toEqual([503, 'ENROLLMENT_DISABLED'])
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
  })

  it('is given to everybody on loopback by default, but not to a web page of another host', async () => {
    await open({ OPEN_REGISTRATION: '' })
    const foreign = await register({ body, headers: { Host: 'evil.example:5000' } })
    expect([foreign.status, foreign.json.error.code]).toEqual([403, 'FORBIDDEN'])
    expect((await register({ body, headers: { Host: 'localhost:5000' } })).status).toBe(201)
  })

  it('is given with each of two enrolment keys', async () => {
    const [one, two] = ['first-key-of-many', 'second-key-of-many']
    await open({ OPEN_REGISTRATION: 'false', ENROLLMENT_KEY: `${one}, ${two}` })
    const statuses: number[] = []
    for (const [name, key] of Object.entries({ a: one, b: two, c: `${one}, ${two}`, d: 'x', e: '' }))
      statuses.push(
        (await register({ body: { ...body, name }, headers: { 'X-Enrollment-Key': key } })).status,
      )
    expect([...statuses, (await register({ body })).status]).toEqual([201, 201, 401, 401, 401, 401])
  })

  it('is refused after too many failures, with a valid key as with a wrong one', async () => {
    const key = 'a-key-of-many-devices'
    await open({ OPEN_REGISTRATION: 'false', ENROLLMENT_KEY: key, RATE_LIMIT_IP_PER_MINUTE: '3' })
    const statuses: number[] = []
    for (const given of ['x', 'y', 'z', 'w', key])
      statuses.push((await register({ body, headers: { 'X-Enrollment-Key': given } })).status)
    expect(statuses).toEqual([401, 401, 401, 429, 429])
  })

  it('is limited for each address', async () => {
    await open({ RATE_LIMIT_REGISTER_PER_5_MINUTES: '1' })
    const first = await register({ body })
    expect([first.status, first.headers.get('ratelimit-remaining')]).toEqual([201, '0'])
    const second = await register({ body: { ...body, name: 'b' } })
    expect([second.status, second.json.error.code]).toEqual([429, 'RATE_LIMITED'])
  })
})
