import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { AppError } from '../../../lib/errors.ts'
import { addressOf } from '../../../lib/http/address.ts'
import { createMemoryLimiter } from '../../../lib/http/limit/memory.ts'
import { createLog } from '../../../lib/log.ts'
import { type Access, accessApp, from } from '../../support/http-app.ts'

const noon = Date.parse('2026-03-01T12:00:00Z')
beforeEach(() => {
  vi.setSystemTime(noon)
})
afterEach(() => {
  vi.useRealTimers()
})

const keys: Readonly<Record<string, number>> = { 'key-of-1': 1, 'key-of-2': 2 }
const adminToken = 'the-admin-token-of-this-test'

const open = (options: Partial<Parameters<typeof accessApp>[0]> = {}) => {
  const { app, delayForDevice } = accessApp({
    async authenticate(key) {
      if (key === 'key-of-inactive') throw new AppError('FORBIDDEN', 'The device is inactive.')
      const id = keys[key]
      if (id === undefined) throw new AppError('UNAUTHORIZED', 'The API key is not valid.')
      return { device: { id } }
    },
    limiter: createMemoryLimiter(),
    limits: { devicePerMinute: 0, telemetryPerMinute: 0, registerPer5Minutes: 0, ipPerMinute: 0 },
    addressOf: addressOf([]),
    adminToken,
    enrollmentKeys: [],
    enrollment: { admit: async () => undefined, any: async () => false },
    openRegistration: false,
    publicTelemetryReads: false,
    ...options,
  })
  const ask = async (access: Access, headers: Record<string, string> = {}, address = '192.0.2.1') => {
    const answer = await app.request(`/${access}`, { headers }, from(address))
    const body = (await answer.json()) as { caller?: unknown; error?: { code: string } }
    return { status: answer.status, code: body.error?.code, caller: body.caller, headers: answer.headers }
  }
  return { ask, delayForDevice }
}

const limits = (changed: Partial<Parameters<typeof accessApp>[0]['limits']>) => ({
  limits: { devicePerMinute: 0, telemetryPerMinute: 0, registerPer5Minutes: 0, ipPerMinute: 0, ...changed },
})

const deviceKey = (id: number) => ({ 'X-API-Key': `key-of-${id}` })
const bearer = (token: string) => ({ Authorization: `Bearer ${token}` })

describe('access for devices', () => {
  it('lets the device of the key in', async () => {
    const { ask } = open()
    expect(await ask('device', deviceKey(2))).toMatchObject({ status: 200, caller: { id: 2 } })
  })

  it.each<[string, Record<string, string>, number, string]>([
    ['no key', {}, 401, 'UNAUTHORIZED'],
    ['an empty key', { 'X-API-Key': '' }, 401, 'UNAUTHORIZED'],
    ['an unknown key', { 'X-API-Key': 'key-of-3' }, 401, 'UNAUTHORIZED'],
    ['the key of an inactive device', { 'X-API-Key': 'key-of-inactive' }, 403, 'FORBIDDEN'],
    ['the admin token', bearer(adminToken), 401, 'UNAUTHORIZED'],
  ])('refuses %s', async (_what, headers, status, code) => {
    const answer = await open().ask('device', headers)
    expect([answer.status, answer.code]).toEqual([status, code])
    expect(answer.headers.get('www-authenticate')).toBe(status === 401 ? 'Bearer' : null)
  })

  it('counts the requests of each device, and says how many are left', async () => {
    const { ask } = open(limits({ devicePerMinute: 2 }))
    const left = (await ask('device', deviceKey(1))).headers
    expect([
      left.get('ratelimit-limit'),
      left.get('ratelimit-remaining'),
      left.get('ratelimit-reset'),
    ]).toEqual(['2', '1', '60'])
    expect((await ask('device', deviceKey(1))).status).toBe(200)
    const refused = await ask('device', deviceKey(1))
    expect([refused.status, refused.code, refused.headers.get('retry-after')]).toEqual([
      429,
      'RATE_LIMITED',
      '61',
    ])
    expect((await ask('device', deviceKey(2))).status).toBe(200)
  })

  it('counts telemetry apart from other requests', async () => {
    const { ask } = open(limits({ devicePerMinute: 1, telemetryPerMinute: 1 }))
    for (const access of ['device', 'telemetry'] as const) {
      expect((await ask(access, deviceKey(1))).status).toBe(200)
      expect((await ask(access, deviceKey(1))).status).toBe(429)
    }
  })

  it('tells no limit while it is 0', async () => {
    const { ask } = open()
    expect((await ask('device', deviceKey(1))).headers.has('ratelimit-limit')).toBe(false)
  })

  it('slows the guessing of keys down for each address, and lets a valid key in from the same one', async () => {
    const { ask } = open(limits({ ipPerMinute: 2 }))
    const guess = (address: string) => ask('device', { 'X-API-Key': 'wrong' }, address)
    expect([(await guess('192.0.2.1')).status, (await guess('192.0.2.1')).status]).toEqual([401, 401])
    expect((await guess('192.0.2.1')).status).toBe(429)
    expect((await guess('192.0.2.2')).status).toBe(401)
    expect((await ask('device', deviceKey(1), '192.0.2.1')).status).toBe(200)
  })
})

describe('access for the admin', () => {
  it.each([
    ['Bearer', `Bearer ${adminToken}`],
    ['bearer', `bearer ${adminToken}`],
    ['the word admin of the predecessor', `admin ${adminToken}`],
    ['several blanks', `Bearer   ${adminToken}`],
  ])('lets the token in with %s', async (_what, Authorization) => {
    expect((await open().ask('admin', { Authorization })).status).toBe(200)
  })

  it.each([
    ['no token', {}],
    ['a wrong token', bearer('wrong')],
    ['the beginning of the token', bearer(adminToken.slice(0, -1))],
    ['the token with more behind it', bearer(`${adminToken}x`)],
    ['the token alone', { Authorization: adminToken }],
    ['the token as basic authentication', { Authorization: `Basic ${adminToken}` }],
    ['the key of a device', deviceKey(1)],
  ])('refuses %s', async (_what, headers) => {
    const answer = await open().ask('admin', headers as Record<string, string>)
    expect([answer.status, answer.code]).toEqual([401, 'UNAUTHORIZED'])
  })

  it('refuses everybody while no token is configured', async () => {
    const { ask } = open({ adminToken: undefined })
    for (const headers of [{}, bearer(adminToken), bearer('undefined')]) {
      const answer = await ask('admin', headers as Record<string, string>)
      expect([answer.status, answer.code, answer.headers.get('retry-after')]).toEqual([
        503,
        'ADMIN_DISABLED',
        '3600',
      ])
    }
  })

  it('counts requests for each address', async () => {
    const { ask } = open(limits({ ipPerMinute: 1 }))
    expect((await ask('admin', bearer(adminToken))).status).toBe(200)
    expect((await ask('admin', bearer(adminToken))).status).toBe(429)
    expect((await ask('admin', bearer(adminToken), '192.0.2.2')).status).toBe(200)
  })
})

describe('a function that shows more to the admin', () => {
  it.each<[string, Record<string, string>, number, unknown]>([
    ['without a token', {}, 200, false],
    ['with the token', bearer(adminToken), 200, true],
    ['with a wrong token', bearer('wrong'), 401, undefined],
    ['with the key of a device', deviceKey(1), 200, false],
  ])('answers a caller %s', async (_what, headers, status, caller) => {
    expect(await open().ask('is-admin', headers)).toMatchObject({ status, caller })
  })
})

describe('access for readers', () => {
  it.each<[string, boolean, Record<string, string>, number, unknown]>([
    ['a device', false, deviceKey(1), 200, { kind: 'device', device: { id: 1 } }],
    ['a device, when reads are public', true, deviceKey(1), 200, { kind: 'public' }],
    ['the admin', false, bearer(adminToken), 200, { kind: 'admin' }],
    ['anybody, when reads are public', true, {}, 200, { kind: 'public' }],
    ['anybody', false, {}, 401, undefined],
    ['an unknown key', false, { 'X-API-Key': 'wrong' }, 401, undefined],
    ['an unknown key, when reads are public', true, { 'X-API-Key': 'wrong' }, 401, undefined],
    ['a wrong token, when reads are public', true, bearer('wrong'), 401, undefined],
    ['an inactive device', false, { 'X-API-Key': 'key-of-inactive' }, 403, undefined],
  ])('answers %s', async (_who, publicTelemetryReads, headers, status, caller) => {
    expect(await open({ publicTelemetryReads }).ask('read', headers)).toMatchObject({ status, caller })
  })

  it('counts public reads for each address', async () => {
    const { ask } = open({ publicTelemetryReads: true, ...limits({ ipPerMinute: 1 }) })
    expect([(await ask('read')).status, (await ask('read')).status]).toEqual([200, 429])
    expect((await ask('read', {}, '192.0.2.2')).status).toBe(200)
  })
})

describe('access for new devices', () => {
  const enrollmentKeys = ['first-enrollment-key', 'second-enrollment-key']
  const enrol = (key: string) => ({ 'X-Enrollment-Key': key })

  it('is closed while neither a key nor open registration is configured', async () => {
    const answer = await open().ask('enrol', enrol(''))
    expect([answer.status, answer.code]).toEqual([503, 'ENROLLMENT_DISABLED'])
  })

  it.each<[string, Record<string, string>, number]>([
    ['the first key', enrol('first-enrollment-key'), 200],
    ['the second key', enrol('second-enrollment-key'), 200],
    ['both keys in one header', enrol(enrollmentKeys.join(',')), 401],
    ['a wrong key', enrol('wrong'), 401],
    ['no key', {}, 401],
    ['the admin token', bearer(adminToken), 401],
  ])('answers %s', async (_what, headers, status) => {
    expect((await open({ enrollmentKeys }).ask('enrol', headers)).status).toBe(status)
  })

  it('needs no key while registration is open', async () => {
    expect((await open({ enrollmentKeys, openRegistration: true }).ask('enrol')).status).toBe(200)
  })

  it('counts registrations for each address in five minutes', async () => {
    const { ask } = open({ openRegistration: true, ...limits({ registerPer5Minutes: 1 }) })
    expect((await ask('enrol')).status).toBe(200)
    const refused = await ask('enrol')
    expect([refused.status, Number(refused.headers.get('retry-after'))]).toEqual([429, 301])
    expect((await ask('enrol', {}, '192.0.2.2')).status).toBe(200)
  })

  it('refuses a valid key as it refuses a wrong one when too many were tried', async () => {
    const { ask } = open({ enrollmentKeys, ...limits({ ipPerMinute: 1 }) })
    expect((await ask('enrol', enrol('wrong'))).status).toBe(401)
    expect((await ask('enrol', enrol('wrong'))).status).toBe(429)
    expect((await ask('enrol', enrol('first-enrollment-key'))).status).toBe(429)
  })
})

describe('access that is open on loopback only', () => {
  const enrollmentKeys = ['the-enrollment-key']
  const server = () =>
    open({ publicTelemetryReads: 'loopback', openRegistration: 'loopback', enrollmentKeys })
  const isPublic = { status: 200, caller: { kind: 'public' } }

  it.each([undefined, 'localhost', 'LOCALHOST:5000', '127.0.0.1:5000', '127.9.8.7', '[::1]:5000'])(
    'needs no credential of a caller who names the host %s',
    async (host) => {
      const { ask } = server()
      const headers: Record<string, string> = host === undefined ? {} : { Host: host }
      expect(await ask('read', headers)).toMatchObject(isPublic)
      expect((await ask('enrol', headers)).status).toBe(200)
      expect(await ask('read', { ...headers, ...deviceKey(1) })).toMatchObject(isPublic)
    },
  )

  it.each([
    'evil.example',
    'evil.example:5000',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    '192.168.1.5:5000',
    '0.0.0.0:5000',
    '[fe80::1]',
    'not a host',
    '',
  ])('refuses a caller without a credential who names the host "%s"', async (host) => {
    const { ask } = server()
    for (const access of ['read', 'enrol'] as const)
      expect(await ask(access, { Host: host })).toMatchObject({ status: 403, code: 'FORBIDDEN' })
  })

  it('takes credentials under any host, and shows a device only itself then', async () => {
    const { ask } = server()
    const Host = 'iot.example'
    const own = { status: 200, caller: { kind: 'device', device: { id: 1 } } }
    expect(await ask('read', { Host, ...deviceKey(1) })).toMatchObject(own)
    expect(await ask('read', { Host, ...bearer(adminToken) })).toMatchObject({ caller: { kind: 'admin' } })
    expect((await ask('enrol', { Host, 'X-Enrollment-Key': 'the-enrollment-key' })).status).toBe(200)
    expect((await ask('enrol', { Host, 'X-Enrollment-Key': 'wrong' })).status).toBe(401)
  })
})

describe('a refused caller', () => {
  const logged = async (access: Access, headers: Record<string, string>, options = {}) => {
    const lines: string[] = []
    const log = createLog('warn', (text) => lines.push(text))
    const { ask } = open({ log, ...options })
    await ask(access, headers, '198.51.100.7')
    await log.flush()
    return lines.join('')
  }

  it('is logged with address and reason, and without what was sent', async () => {
    for (const [access, headers] of [
      ['device', { 'X-API-Key': 'a-secret-of-somebody' }],
      ['admin', bearer('a-secret-of-somebody')],
      ['enrol', { 'X-Enrollment-Key': 'a-secret-of-somebody' }],
    ] as const) {
      const text = await logged(access, headers, { enrollmentKeys: ['the-enrollment-key'] })
      expect(JSON.parse(text)).toMatchObject({
        level: 'warn',
        msg: 'caller refused',
        request_id: expect.any(String),
        address: '198.51.100.7',
        code: 'UNAUTHORIZED',
        reason: expect.stringContaining('not valid'),
      })
      expect(text).not.toContain('secret')
    }
  })

  it('is logged with the prefix of a key that is known', async () => {
    const authenticate = async () => {
      const logFields = { device_id: 7, prefix: 'AbCdEf', why: 'revoked' }
      throw new AppError('UNAUTHORIZED', 'The API key is not valid.', { logFields })
    }
    const text = await logged('device', deviceKey(1), { authenticate })
    expect(JSON.parse(text)).toMatchObject({ device_id: 7, prefix: 'AbCdEf', why: 'revoked' })
  })

  it('is not logged again above the limit of its address', async () => {
    const lines: string[] = []
    const log = createLog('warn', (text) => lines.push(text))
    const { ask } = open({ log, ...limits({ ipPerMinute: 2 }) })
    for (let n = 0; n < 5; n += 1) await ask('device', { 'X-API-Key': 'wrong' })
    await log.flush()
    expect(lines.join('').trim().split('\n')).toHaveLength(2)
  })

  it('is not logged when the registry could not be asked', async () => {
    const authenticate = async () => {
      throw new AppError('UNAVAILABLE', 'The database does not answer.')
    }
    expect(await logged('device', deviceKey(1), { authenticate })).not.toContain('caller refused')
  })
})

describe('access for everybody', () => {
  it('counts requests for each address', async () => {
    const { ask } = open(limits({ ipPerMinute: 1 }))
    expect([(await ask('none')).status, (await ask('none')).status]).toEqual([200, 429])
    expect((await ask('none', {}, '192.0.2.2')).status).toBe(200)
  })
})

describe('the delay of a message over MQTT', () => {
  it('is 0 within the limit of telemetry, then the time until one more fits, ms', async () => {
    const { delayForDevice } = open(limits({ telemetryPerMinute: 2 }))
    expect([await delayForDevice(1), await delayForDevice(1)]).toEqual([0, 0])
    expect(await delayForDevice(1)).toBe(60_001)
    expect(await delayForDevice(2)).toBe(0)
  })

  it('is counted together with telemetry over HTTP', async () => {
    const { ask, delayForDevice } = open(limits({ telemetryPerMinute: 1 }))
    await ask('telemetry', deviceKey(1))
    expect(await delayForDevice(1)).toBeGreaterThan(0)
  })

  it('is 0 while the limit is 0', async () => {
    const { delayForDevice } = open()
    expect(await delayForDevice(1)).toBe(0)
  })
})
