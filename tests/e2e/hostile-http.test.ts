/** Requests that no client should send: each gets one clear answer, stores nothing, and disturbs no other client. */
import { createHash } from 'node:crypto'
import { eq } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { credentials, devices } from '../../lib/registry/schema.ts'
import {
  type Answer,
  type Device,
  type Request,
  type StandaloneServer,
  startStandaloneServer,
} from '../support/standalone.ts'
import { until } from '../support/waiting.ts'
import { openWire, type Wire } from './wire.ts'

const telemetry = '/api/v1/devices/telemetry'
const mebibyte = 1024 * 1024

let server: StandaloneServer
let good: Device
let other: Device
/** Requests that come byte by byte and never end. They start first, because they take longest. */
let slow: { what: string; wire: Wire }[]
let dripping: NodeJS.Timeout

beforeAll(async () => {
  // Request limits are off: they would refuse most requests first, and have tests of their own.
  server = await startStandaloneServer({
    settings: {
      PUBLIC_TELEMETRY_READS: 'false',
      RATE_LIMIT_PER_MINUTE: '0',
      RATE_LIMIT_TELEMETRY_PER_MINUTE: '0',
      RATE_LIMIT_REGISTER_PER_5_MINUTES: '0',
      RATE_LIMIT_IP_PER_MINUTE: '0',
    },
  })
  good = await server.register('good')
  other = await server.register('other')
  const head = (path: string) =>
    `POST ${path} HTTP/1.1\r\nHost: a\r\nX-API-Key: ${good.key}\r\nContent-Type: application/json\r\n`
  slow = await Promise.all(
    [
      ['a header', `${head('/slow')}X-Slow: `],
      ['a body', `${head(telemetry)}Content-Length: 1000\r\n\r\n`],
      ['a body in chunks', `${head(telemetry)}Transfer-Encoding: chunked\r\n\r\n`],
    ].map(async ([what = '', bytes = '']) => {
      const wire = await openWire(server.httpUrl)
      wire.send(bytes)
      return { what, wire }
    }),
  )
  dripping = setInterval(() => {
    for (const { what, wire } of slow)
      if (!wire.isClosed()) wire.send(what.endsWith('chunks') ? '1\r\n{\r\n' : '{')
  }, 500)
})

afterAll(async () => {
  clearInterval(dripping)
  for (const { wire } of slow ?? []) wire.destroy()
  await server?.stop()
})

/** Expects that the process is still the same, is healthy, and accepts the requests of a good device. */
const expectWell = async () => {
  process.kill(server.pid, 0)
  expect((await server.request('GET', '/health')).body).toMatchObject({ status: 'healthy' })
  const heartbeat = await server.request('POST', '/api/v1/devices/heartbeat', { key: good.key })
  expect(heartbeat.status).toBe(200)
}

/** Runs the attempt and expects that no reading was stored or lost. */
const withoutTrace = async (attempt: () => Promise<void>) => {
  const before = await server.stored()
  await attempt()
  expect(await server.stored()).toEqual(before)
  await expectWell()
}

const expectRefusal = (answer: Answer, status: number, code: string) => {
  expect([answer.status, answer.text]).toEqual([status, expect.any(String)])
  const { details, ...error } = answer.body?.error ?? {}
  expect(error).toEqual({
    code,
    message: expect.stringMatching(/^\S.*\.$/s),
    request_id: answer.headers.get('x-request-id'),
  })
  if (details !== undefined)
    expect(details).toContainEqual({ path: expect.any(String), message: expect.any(String) })
  expect(answer.headers.get('content-type')).toBe('application/json')
  expect(answer.text).not.toMatch(/sql|node_modules|\.ts:\d|\bat \w+ \(/i)
}

const post = (path: string, request: Request) => server.request('POST', path, request)
const asText = (text: string | Uint8Array) => ({ body: text })

describe('telemetry is refused', () => {
  const nested = (depth: number) => `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`

  it.each<[string, unknown, number, string]>([
    ['nothing at all', '', 400, 'MALFORMED_JSON'],
    ['broken JSON', '{"temperature": 21.5,', 400, 'MALFORMED_JSON'],
    ['two JSON documents', '{"a":1}{"a":2}', 400, 'MALFORMED_JSON'],
    ['bytes that are no UTF-8 and no JSON', Buffer.from([0x7b, 0xff, 0xfe, 0x7d]), 400, 'MALFORMED_JSON'],
    [
      'a name of nothing but bytes that are not UTF-8',
      Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d]),
      422,
      'VALIDATION_FAILED',
    ],
    ['NaN', '{"temperature": NaN}', 400, 'MALFORMED_JSON'],
    ['a number that is too large for a double', '{"temperature": 1e999}', 422, 'VALIDATION_FAILED'],
    ['text', '"21.5"', 422, 'VALIDATION_FAILED'],
    ['a number', '21.5', 422, 'VALIDATION_FAILED'],
    ['null', 'null', 422, 'VALIDATION_FAILED'],
    ['an empty object', {}, 422, 'VALIDATION_FAILED'],
    ['an empty list', [], 422, 'VALIDATION_FAILED'],
    ['a batch of 1001 readings', Array.from({ length: 1001 }, () => ({ a: 1 })), 422, 'BATCH_TOO_LONG'],
    ['a batch in a batch', { batch: [{ batch: [{ a: 1 }] }] }, 422, 'VALIDATION_FAILED'],
    ['a string of 4 KiB and one byte', { note: 'x'.repeat(4097) }, 422, 'VALIDATION_FAILED'],
    ['a name of 129 characters', { ['x'.repeat(129)]: 1 }, 422, 'VALIDATION_FAILED'],
    ['a reserved name', { data: { device_id: 7 } }, 422, 'VALIDATION_FAILED'],
    ['objects nested 100,000 deep', nested(100_000), 422, 'VALIDATION_FAILED'],
  ])('with %s', (_what, body, status, code) =>
    withoutTrace(async () => {
      expectRefusal(await post(telemetry, { key: good.key, body }), status, code)
    }),
  )

  it('with another content type than JSON', () =>
    withoutTrace(async () => {
      for (const type of ['text/plain', 'application/xml', 'application/x-www-form-urlencoded', 'json']) {
        const request = { key: good.key, headers: { 'Content-Type': type }, ...asText('{"a":1}') }
        expectRefusal(await post(telemetry, request), 415, 'UNSUPPORTED_MEDIA_TYPE')
      }
    }))
})

describe('telemetry is stored as far as it can be', () => {
  const many = Object.fromEntries(Array.from({ length: 257 }, (_, index) => [`field${index}`, index]))
  const { field256: _, ...first } = many

  it.each<[string, unknown, Record<string, unknown>]>([
    ['bytes that are not UTF-8', Buffer.from('{"a":"\xb0"}', 'latin1'), { a: '\ufffd' }],
    ['half of a surrogate pair', '{"a":"\\ud800"}', { a: '\ufffd' }],
    ['data that is text', { data: 'hot' }, { data: 'hot' }],
    ['data that is a list', { data: [21.5] }, { 'data.0': 21.5 }],
    ['an array as a value', { temperature: [21.5] }, { 'temperature.0': 21.5 }],
    ['metadata that is text', { data: { a: 1 }, metadata: 'x' }, { a: 1, metadata: { metadata: 'x' } }],
    ['257 fields', many, first],
    ['a name with a quote', { "a'); DROP TABLE readings;--": 1 }, { 'a_)_ DROP TABLE readings_--': 1 }],
    ['a name with a double quote', { 'a"b': 1 }, { a_b: 1 }],
    ['a name with a line break', { 'a\nb': 1 }, { a_b: 1 }],
    [
      'the name __proto__',
      '{"__proto__": 1, "data": {"__proto__": {"a": 1}}}',
      { proto__: 1, 'proto__.a': 1 },
    ],
    [
      'objects nested 17 deep',
      `${'{"a":'.repeat(17)}1${'}'.repeat(17)}`,
      { [Array(17).fill('a').join('.')]: 1 },
    ],
    ['the year 1970', { a: 1, timestamp: '1970-01-01' }, { a: 1, metadata: { device_time: '1970-01-01' } }],
    ['the year 2099', { a: 1, timestamp: '2099-01-01' }, { a: 1, metadata: { device_time: '2099-01-01' } }],
    [
      'a time older than the retention',
      { a: 1, time: '2025-01-01' },
      { a: 1, metadata: { device_time: '2025-01-01' } },
    ],
    ['a time that cannot be parsed', { a: 1, timestamp: 'noon' }, { a: 1, metadata: { timestamp: 'noon' } }],
    ['the date June 31', { a: 1, time: '2026-06-31' }, { a: 1, metadata: { time: '2026-06-31' } }],
    ['two times', { a: 1, ts: 1, time: 2 }, { a: 1, metadata: { device_time: '1', time: '2' } }],
  ])('with %s', async (_what, body, stored) => {
    const { id, key } = await server.register()
    const before = Date.now()
    expect((await post(telemetry, { key, body })).status).toBe(201)
    const { body: history } = await server.request('GET', `/api/v1/telemetry/${id}`, { key })
    const [{ timestamp, ...reading }, ...others] = history.data
    expect(reading).toEqual(stored)
    expect(others).toEqual([])
    // None of these times is believed.
    expect(Date.parse(timestamp)).toBeGreaterThanOrEqual(before - 1)
    await expectWell()
  })
})

/** Sends bytes and waits for whole answers, one unless `count` says more. */
const answersTo = async (
  bytes: (string | Uint8Array)[],
  count = 1,
): Promise<{ answers: string[]; wire: Wire }> => {
  const wire = await openWire(server.httpUrl)
  wire.send(...bytes)
  const all = () =>
    wire
      .received()
      .toString('latin1')
      .split(/(?=HTTP\/1\.1 \d{3} )/)
  const complete = (text: string) => {
    const [head = '', body = ''] = text.split('\r\n\r\n')
    const length = /content-length: (\d+)/i.exec(head)?.[1]
    return length === undefined ? body.includes('}') : body.length >= Number(length)
  }
  await until(
    () => wire.isClosed() || (all().length >= count && all().every(complete)),
    `an answer to ${String(bytes[0]).slice(0, 60)}`,
  )
  return { answers: all(), wire }
}

const refusalIn = (text: string | undefined) => {
  const status = Number(/^HTTP\/1\.1 (\d+)/.exec(text ?? '')?.[1])
  const { error } = JSON.parse(/\{"error":.*\}/.exec(text ?? '')?.[0] ?? '{"error":{}}')
  expect(error).toMatchObject({
    message: expect.stringMatching(/\.$/),
    request_id: /x-request-id: (\S+)/i.exec(text ?? '')?.[1],
  })
  return [status, error.code]
}

const head = (request: string, ...headers: string[]) =>
  `${[request, 'Host: a', ...headers].join('\r\n')}\r\n\r\n`

describe('a body of more than 1 MiB is refused', () => {
  const body = () => {
    const text = `{"note":"${'x'.repeat(4000)}"}`
    return Buffer.from(text.padEnd(mebibyte + 1))
  }
  const headers = () => [`X-API-Key: ${good.key}`, 'Content-Type: application/json']

  it('when its Content-Length says so', () =>
    withoutTrace(async () => {
      const first = head(`POST ${telemetry} HTTP/1.1`, ...headers(), `Content-Length: ${mebibyte + 1}`)
      const { answers, wire } = await answersTo([first, body()])
      expect(refusalIn(answers[0])).toEqual([413, 'PAYLOAD_TOO_LARGE'])
      wire.destroy()
    }))

  it('when only its Content-Length has arrived', () =>
    withoutTrace(async () => {
      const first = head(`POST ${telemetry} HTTP/1.1`, ...headers(), `Content-Length: ${1e15}`)
      const { answers, wire } = await answersTo([first])
      expect(refusalIn(answers[0])).toEqual([413, 'PAYLOAD_TOO_LARGE'])
      await wire.closes
    }))

  it('when it arrives in chunks without a Content-Length', () =>
    withoutTrace(async () => {
      const first = head(`POST ${telemetry} HTTP/1.1`, ...headers(), 'Transfer-Encoding: chunked')
      const size = `${(mebibyte + 1).toString(16)}\r\n`
      const { answers, wire } = await answersTo([first, size, body(), '\r\n0\r\n\r\n'])
      expect(refusalIn(answers[0])).toEqual([413, 'PAYLOAD_TOO_LARGE'])
      wire.destroy()
    }))

  it('and a body of exactly 1 MiB is read', async () => {
    const { status } = await post(telemetry, { key: other.key, body: body().subarray(0, mebibyte) })
    expect(status).toBe(201)
  })
})

describe('a registration', () => {
  const register = (body: unknown) => post('/api/v1/devices/register', { body })

  it('makes one device when 50 requests with the same name arrive at once', async () => {
    const before = await server.stored()
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => register({ name: 'twin', device_type: 'sensor' })),
    )
    const made = answers.filter(({ status }) => status === 201)
    expect(made).toHaveLength(1)
    for (const answer of answers) if (!made.includes(answer)) expectRefusal(answer, 409, 'CONFLICT')
    expect(await server.stored()).toEqual({ ...before, devices: before.devices + 1 })
    const { id, api_key: key } = made[0]?.body.device ?? {}
    expect((await server.request('GET', '/api/v1/devices/status', { key })).body.device.id).toBe(id)
  })

  it.each<[string, unknown, number, string]>([
    ['without a name', { device_type: 'sensor' }, 422, 'VALIDATION_FAILED'],
    ['with an empty name', { name: ' ', device_type: 'sensor' }, 422, 'VALIDATION_FAILED'],
    ['with a number for a name', { name: 7, device_type: 'sensor' }, 422, 'VALIDATION_FAILED'],
    ['with a line break in its name', { name: 'a\nb', device_type: 'sensor' }, 422, 'VALIDATION_FAILED'],
    ['with a NUL in its name', { name: 'a\0b', device_type: 'sensor' }, 422, 'VALIDATION_FAILED'],
    ['with a name of 129 characters', { name: 'x'.repeat(129), device_type: 'a' }, 422, 'VALIDATION_FAILED'],
    [
      'with an array as its location',
      { name: 'a', device_type: 'a', location: [] },
      422,
      'VALIDATION_FAILED',
    ],
    ['that is a list', [], 422, 'VALIDATION_FAILED'],
    ['that is null', null, 422, 'VALIDATION_FAILED'],
    ['with broken JSON', '{"name":', 400, 'MALFORMED_JSON'],
    ['with a name that is taken', { name: 'good', device_type: 'sensor' }, 409, 'CONFLICT'],
  ])('%s is refused', (_what, body, status, code) =>
    withoutTrace(async () => {
      expectRefusal(await register(body), status, code)
    }),
  )

  it('keeps quotes in the name', async () => {
    const name = `Robert'); DROP TABLE devices;-- "x" \\ \``
    const { key } = await server.register(name)
    const { body } = await server.request('GET', '/api/v1/devices/status', { key })
    expect(body.device.name).toBe(name)
    await expectWell()
  })
})

describe('a query is refused', () => {
  it.each([
    ['', 'limit=-1'],
    ['', 'limit=0'],
    ['', 'limit=1.5'],
    ['', 'limit=1;DROP'],
    ['', 'start_time=garbage'],
    ['', 'end_time=-0h'],
    ['', 'start_time=-1x'],
    ['', 'order=sideways'],
    ['', 'format=xml'],
    ['', 'cursor=garbage'],
    ['', "fields=a'b"],
    ['', 'fields=a,,b'],
    ['/aggregated', 'window=0'],
    ['/aggregated', 'window=0s'],
    ['/aggregated', 'window=-1h'],
    ['/aggregated', 'window=1'],
    ['/aggregated', 'window=99999999999999999999w'],
    ['/aggregated', 'window=1s&start_time=-30d'],
    ['/aggregated', 'aggregation=drop'],
    ['/aggregated', 'field=a%22b'],
    ['/aggregated', 'start_time=garbage'],
  ])('at %s?%s', (path, query) =>
    withoutTrace(async () => {
      const answer = await server.request('GET', `/api/v1/telemetry/${good.id}${path}?${query}`, {
        key: good.key,
      })
      expectRefusal(answer, 422, 'VALIDATION_FAILED')
    }),
  )

  it.each([
    '1%20OR%201=1',
    '1%27',
    '1;--',
    '-1',
    '0',
    '01',
    '1.0',
    '1e3',
    '0x1',
    '9999999999999999',
    'latest',
    '%00',
    '1%00',
    '%ff',
    '%F0%9F%92%A9',
  ])('for the device %s', (id) =>
    withoutTrace(async () => {
      for (const path of ['', '/latest', '/aggregated']) {
        const answer = await server.request('GET', `/api/v1/telemetry/${id}${path}`, { key: good.key })
        expectRefusal(answer, 404, 'NOT_FOUND')
      }
    }),
  )
})

describe('access is refused', () => {
  const everywhere = async (key: string | undefined, status: number, code: string) => {
    const request = key === undefined ? {} : { key }
    expectRefusal(await post(telemetry, { ...request, body: { a: 1 } }), status, code)
    expectRefusal(await post('/api/v1/devices/heartbeat', request), status, code)
    for (const path of ['/api/v1/devices/status', telemetry, `/api/v1/telemetry/${good.id}`])
      expectRefusal(await server.request('GET', path, request), status, code)
  }

  it('without a key', () => withoutTrace(() => everywhere(undefined, 401, 'UNAUTHORIZED')))

  it.each(['x', 'x'.repeat(32), `' OR '1'='1`, 'x'.repeat(10_000)])('with the unknown key %.20s', (key) =>
    withoutTrace(() => everywhere(key, 401, 'UNAUTHORIZED')),
  )

  /** Registers a device and changes its registry rows before its key is used for the first time. */
  const changed = async (change: (device: Device) => Promise<unknown>): Promise<Device> => {
    const device = await server.register()
    await change(device)
    return device
  }
  const credentialOf = ({ key }: Device) =>
    eq(credentials.keyHash, createHash('sha256').update(key).digest('hex'))

  it('with an expired key', async () => {
    const { key } = await changed((device) =>
      server.withRegistry((db) =>
        db
          .update(credentials)
          .set({ expiresAt: Date.now() - 1 })
          .where(credentialOf(device)),
      ),
    )
    await withoutTrace(() => everywhere(key, 401, 'UNAUTHORIZED'))
  })

  it('with a revoked key', async () => {
    const { key } = await changed((device) =>
      server.withRegistry((db) =>
        db
          .update(credentials)
          .set({ revokedAt: Date.now() - 1 })
          .where(credentialOf(device)),
      ),
    )
    await withoutTrace(() => everywhere(key, 401, 'UNAUTHORIZED'))
  })

  it('with the key of an inactive device', async () => {
    const { key } = await changed(({ id }) =>
      server.withRegistry((db) => db.update(devices).set({ status: 'inactive' }).where(eq(devices.id, id))),
    )
    await withoutTrace(() => everywhere(key, 403, 'FORBIDDEN'))
  })

  it('with the key of another device', () =>
    withoutTrace(async () => {
      const { key } = good
      const submit = await post(`/api/v1/mqtt/telemetry/${other.id}`, { key, body: { a: 1 } })
      expectRefusal(submit, 404, 'NOT_FOUND')
      const unknown = await post('/api/v1/mqtt/telemetry/999999', { key, body: { a: 1 } })
      // The answer must not tell whether such a device exists.
      expect({ ...unknown.body.error, request_id: '' }).toEqual({ ...submit.body.error, request_id: '' })
      for (const path of ['', '/latest', '/aggregated']) {
        const answer = await server.request('GET', `/api/v1/telemetry/${other.id}${path}`, { key })
        expectRefusal(answer, 404, 'NOT_FOUND')
      }
    }))

  it('with the key of a device as the admin token', () =>
    withoutTrace(async () => {
      for (const scheme of ['Bearer', 'admin']) {
        const headers = { Authorization: `${scheme} ${good.key}` }
        const answer = await server.request('GET', `/api/v1/telemetry/${good.id}`, { headers })
        expectRefusal(answer, 401, 'UNAUTHORIZED')
      }
    }))
})

describe('an address', () => {
  it.each([
    ['GET', '/api/v1/devices/register', 'POST'],
    ['DELETE', '/api/v1/devices/heartbeat', 'POST'],
    ['PATCH', telemetry, 'GET, POST'],
    ['PUT', '/api/v1/telemetry/1/latest', 'GET'],
    ['OPTIONS', '/health', 'GET'],
    ['PROPFIND', '/health', 'GET'],
  ])('answers 405 to %s %s', (method, path, allow) =>
    withoutTrace(async () => {
      const answer = await server.request(method, path, { key: good.key })
      expectRefusal(answer, 405, 'METHOD_NOT_ALLOWED')
      expect(answer.headers.get('allow')).toBe(allow)
    }),
  )

  it.each([
    '/nothing',
    '/api/v1',
    '/api/v2/devices/status',
    '/health/x',
    '//health',
    '/api/v1/devices/status/%00',
  ])('%s is unknown', (path) =>
    withoutTrace(async () => {
      expectRefusal(await server.request('GET', path, { key: good.key }), 404, 'NOT_FOUND')
    }),
  )

  it.each([
    '/%2e%2e/%2e%2e/etc/passwd',
    '/api/v1/telemetry/%2e%2e%2f%2e%2e%2fhealth',
    '/../../etc/passwd',
    '/%',
    '/%zz',
  ])('%s gives access to no file', (path) =>
    withoutTrace(async () => {
      const { answers, wire } = await answersTo([head(`GET ${path} HTTP/1.1`, `X-API-Key: ${good.key}`)])
      expect(refusalIn(answers[0])).toEqual([404, 'NOT_FOUND'])
      wire.destroy()
    }),
  )

  it.each(['*', 'a:80', 'http://a b/'])('in the form %s is refused', (target) =>
    withoutTrace(async () => {
      const { answers, wire } = await answersTo([head(`OPTIONS ${target} HTTP/1.1`)])
      expect(refusalIn(answers[0])).toEqual([400, 'BAD_REQUEST'])
      wire.destroy()
    }),
  )
})

describe('on a raw connection', () => {
  const smuggled = 'GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n'
  const submit = (...headers: string[]) =>
    head(`POST ${telemetry} HTTP/1.1`, 'Content-Type: application/json', ...headers)

  it.each<[string, () => (string | Uint8Array)[], number]>([
    ['garbage', () => ['\x16\x03\x01\x02\x00\x01\xfc\r\n\r\n'], 400],
    ['with an unknown method', () => [head('STEAL /health HTTP/1.1')], 400],
    ['in HTTP/2 without TLS', () => ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'], 400],
    ['that asks for a tunnel', () => [head('CONNECT a:80 HTTP/1.1')], 400],
    ['without Host', () => ['GET /health HTTP/1.1\r\n\r\n'], 400],
    ['with two hosts in one header', () => ['GET /health HTTP/1.1\r\nHost: a, b\r\n\r\n'], 400],
    ['with a header of 100 KB', () => [head('GET /health HTTP/1.1', `X-A: ${'x'.repeat(100_000)}`)], 431],
    [
      'with 10,000 headers',
      () => [head('GET /health HTTP/1.1', ...Array.from({ length: 10_000 }, (_, i) => `X-${i}: 1`))],
      431,
    ],
    ['with a NUL in a header', () => [head('GET /health HTTP/1.1', 'X-A: a\0b')], 400],
    ['with an unknown Expect header', () => [submit('Expect: gold', 'Content-Length: 0')], 417],
    ['with a negative Content-Length', () => [submit('Content-Length: -1'), smuggled], 400],
    [
      'with two Content-Lengths',
      () => [submit('Content-Length: 2', 'Content-Length: 40'), '{}', smuggled],
      400,
    ],
    [
      'with Content-Length and then chunks',
      () => [submit('Content-Length: 5', 'Transfer-Encoding: chunked'), '0\r\n\r\n', smuggled],
      400,
    ],
    [
      'with chunks and then Content-Length',
      () => [submit('Transfer-Encoding: chunked', 'Content-Length: 5'), '0\r\n\r\n', smuggled],
      400,
    ],
    [
      'with an unknown transfer encoding',
      () => [submit('Transfer-Encoding: xchunked'), '0\r\n\r\n', smuggled],
      400,
    ],
    [
      'with chunked not as the last transfer encoding',
      () => [submit('Transfer-Encoding: chunked, identity'), '0\r\n\r\n', smuggled],
      400,
    ],
    [
      'with a blank before the colon of a header',
      () => [submit('Transfer-Encoding : chunked'), '0\r\n\r\n', smuggled],
      400,
    ],
    [
      'with line feeds instead of CRLF',
      () => [`POST ${telemetry} HTTP/1.1\nHost: a\nContent-Length: 0\n\n`, smuggled],
      400,
    ],
    [
      'with a chunk size that is no number',
      () => [submit(`X-API-Key: ${good.key}`, 'Transfer-Encoding: chunked'), 'zz\r\n{}\r\n', smuggled],
      400,
    ],
  ])('a request %s is answered once, and the connection ends', (_what, bytes, status) =>
    withoutTrace(async () => {
      const { answers, wire } = await answersTo(bytes())
      await wire.closes
      expect(answers).toHaveLength(1)
      expect(refusalIn(answers[0])).toEqual([status, 'BAD_REQUEST'])
      expect(server.log().filter(({ path }) => path === '/smuggled')).toEqual([])
    }),
  )

  it('200 pipelined requests are all answered, in their order', async () => {
    const before = await server.stored()
    const requests = Array.from({ length: 200 }, (_, index) => {
      const body = `{"n":${index}}`
      const headers = [
        `X-API-Key: ${other.key}`,
        'Content-Type: application/json',
        `Content-Length: ${body.length}`,
      ]
      return `${head(`POST ${telemetry} HTTP/1.1`, ...headers)}${body}`
    })
    const { answers, wire } = await answersTo([requests.join('')], 200)
    wire.destroy()
    const times = answers.map((text) => /"timestamp":"([^"]+)"/.exec(text)?.[1] ?? 'none')
    expect(new Set(answers.map((text) => text.slice(0, 12)))).toEqual(new Set(['HTTP/1.1 201']))
    expect(new Set(times).size).toBe(200)
    expect(await server.stored()).toEqual({ ...before, readings: before.readings + 200 })
    const { body } = await server.request('GET', `${telemetry}?limit=200&fields=n`, { key: other.key })
    const stored = new Map(
      body.telemetry.map((reading: { timestamp: string; n: number }) => [reading.timestamp, reading.n]),
    )
    expect(times.map((time) => stored.get(time))).toEqual(Array.from({ length: 200 }, (_, index) => index))
  })

  it('a client that disconnects in the middle of its body stores nothing', () =>
    withoutTrace(async () => {
      for (let round = 0; round < 20; round++) {
        const wire = await openWire(server.httpUrl)
        wire.send(submit(`X-API-Key: ${good.key}`, 'Content-Length: 100'), '{"a":1}')
        wire.destroy()
      }
    }))
})

it('the server ends requests that never end; other clients are served meanwhile', async () => {
  for (const { what, wire } of slow) {
    const ms = await wire.closes
    const text = wire.received().toString()
    expect([what, text.slice(0, 12)]).toEqual([what, 'HTTP/1.1 408'])
    expect(refusalIn(text)).toEqual([408, 'BAD_REQUEST'])
    console.log(`${what} that never ends was ended after ${(ms / 1000).toFixed(1)} s`)
  }
  await expectWell()
  expect(server.log().filter(({ level }) => level === 'error')).toEqual([])
})
