/** Telemetry that comes without Hono is answered as telemetry that comes with it. */
import { Agent, request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Device, type StandaloneServer, startStandaloneServer } from '../support/standalone.ts'

const path = '/api/v1/devices/telemetry'

let server: StandaloneServer
let device: Device

beforeAll(async () => {
  server = await startStandaloneServer({ settings: { RATE_LIMIT_TELEMETRY_PER_MINUTE: '1000' } })
  device = await server.register('direct')
})
afterAll(() => server.stop())

interface Sent {
  readonly body: string | Buffer
  readonly headers?: Record<string, string>
}

interface Answer {
  readonly status: number | undefined
  readonly headers: Record<string, unknown>
  readonly rawHeaders: readonly string[]
  readonly text: string
}

/** @param host in upper case it is not plain, and the request takes the way through Hono. */
const post = (host: string, { body, headers = {} }: Sent, at = path) =>
  new Promise<Answer>((resolve, reject) => {
    const { hostname, port } = new URL(server.httpUrl)
    const all = {
      Host: host,
      'X-API-Key': device.key,
      'Content-Type': 'application/json',
      'Content-Length': Buffer.byteLength(body),
      ...headers,
    }
    // A connection of its own: one that an earlier request has brought to Node would be used again.
    const agent = new Agent({ keepAlive: true })
    const sent = httpRequest({ hostname, port, path: at, method: 'POST', headers: all, agent }, (answer) => {
      const chunks: Buffer[] = []
      answer.on('data', (chunk) => chunks.push(chunk))
      answer.on('end', () => {
        agent.destroy()
        resolve({
          status: answer.statusCode,
          headers: answer.headers,
          rawHeaders: answer.rawHeaders,
          text: Buffer.concat(chunks).toString(),
        })
      })
    })
    sent.on('error', reject)
    sent.end(body)
  })

/** What must be equal: ids, times and counts of the limit differ from request to request. */
const comparable = ({ status, headers, text }: Answer) => ({
  status,
  headers: Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [
      name,
      /^(date|x-request-id|ratelimit-.*|content-length)$/.test(name) ? 'any' : value,
    ]),
  ),
  text: text
    .replace(/"request_id":"[0-9a-f]{24}"/, '"request_id":"any"')
    .replace(/"timestamp":"[^"]*"/, '"timestamp":"any"'),
})

const reading = JSON.stringify({ data: { temperature: 21.5 } })
const warned = JSON.stringify({ data: { temperature: 21.5, nested: { '': 1 } } })

describe('telemetry', () => {
  const cases: readonly [what: string, status: number, sent: Sent][] = [
    ['a reading', 201, { body: reading }],
    ['a batch', 201, { body: JSON.stringify([{ values: { a: 1 } }, { values: { a: 2 }, age_ms: 10 }, 5]) }],
    ['with a key of its own', 201, { body: reading, headers: { 'Idempotency-Key': 'once' } }],
    ['with a key that is not valid', 422, { body: reading, headers: { 'Idempotency-Key': 'ä' } }],
    ['for strict handling', 201, { body: reading, headers: { Prefer: 'handling=strict' } }],
    ['with warnings', 201, { body: warned }],
    ['that is no JSON', 400, { body: '{"a":' }],
    ['that is empty', 400, { body: '' }],
    ['of another type', 415, { body: reading, headers: { 'Content-Type': 'text/plain' } }],
    ['in an encoding that is unknown', 415, { body: reading, headers: { 'Content-Encoding': 'br' } }],
    ['without a key', 401, { body: reading, headers: { 'X-API-Key': '' } }],
    ['with a wrong key', 401, { body: reading, headers: { 'X-API-Key': `${'x'.repeat(43)}` } }],
    ['that is large', 201, { body: JSON.stringify({ data: { a: 1 }, metadata: { b: 'x'.repeat(60_000) } }) }],
  ]

  test.each(cases)('%s is answered alike on both ways', async (_, status, sent) => {
    const direct = comparable(await post('localhost:8080', sent))
    const withHono = comparable(await post('LOCALHOST:8080', sent))
    expect(direct.status).toBe(status)
    expect({ ...direct, text: direct.text.replace('"duplicates":0', '"duplicates":1') }).toEqual({
      ...withHono,
      text: withHono.text.replace('"duplicates":0', '"duplicates":1'),
    })
  })

  test('goes the direct way to a plain host, and only there', async () => {
    // Only the place of this header tells the two ways apart.
    const isDirect = ({ rawHeaders }: Answer) =>
      rawHeaders.indexOf('Content-Length') < rawHeaders.indexOf('Date')
    expect(isDirect(await post('localhost:8080', { body: reading }))).toBe(true)
    expect(isDirect(await post('LOCALHOST:8080', { body: reading }))).toBe(false)
  })

  test('is stored once when its request comes again on the other way', async () => {
    const sent = { body: reading, headers: { 'Idempotency-Key': 'both-ways' } }
    expect(JSON.parse((await post('localhost:8080', sent)).text)).toMatchObject({
      accepted: 1,
      duplicates: 0,
    })
    expect(JSON.parse((await post('LOCALHOST:8080', sent)).text)).toMatchObject({
      accepted: 1,
      duplicates: 1,
    })
  })
})

/** Sends bytes as they are. @returns the status lines of the answers until the server ends the connection. */
const statusesOf = (...parts: readonly string[]) =>
  new Promise<string[]>((resolve, reject) => {
    const { hostname, port } = new URL(server.httpUrl)
    const socket = connect({ host: hostname, port: Number(port) })
    let text = ''
    socket.on('data', (chunk) => {
      text += chunk
      // The next part comes when the one before it is answered.
      const next = parts[text.split('HTTP/1.1 ').length - 1]
      if (next !== undefined) socket.write(next)
    })
    socket.on('close', () => resolve(text.match(/(?<=HTTP\/1\.1 )\d{3}/g) ?? []))
    socket.on('error', reject)
    socket.write(parts[0] ?? '')
  })

const raw = (host: string, more: string, body: string, key = device.key) =>
  `POST ${path} HTTP/1.1\r\nHost: ${host}\r\nX-API-Key: ${key}\r\nContent-Length: ${reading.length}\r\n${more}\r\n${body}`

describe.each(['localhost:8080', 'LOCALHOST:8080'])('on one connection to %s', (host) => {
  const last = 'Connection: close\r\n'

  test('requests that come at once are answered in their order, also behind one that is refused before its body is read', async () => {
    const all = raw(host, '', reading) + raw(host, '', reading, 'x'.repeat(32)) + raw(host, last, reading)
    expect(await statusesOf(all)).toEqual(['201', '401', '201'])
  })

  test('a body may wait until the server asks for it', async () => {
    const head = raw(host, `Expect: 100-continue\r\n${last}`, '')
    expect(await statusesOf(head, reading)).toEqual(['100', '201'])
  })

  test.each([
    ['chunks and a length', 'Transfer-Encoding: chunked\r\n'],
    ['two lengths', 'Content-Length: 1\r\n'],
  ])('a request with %s is refused, and nothing behind it is read', async (_, more) => {
    expect(await statusesOf(raw(host, more, reading) + raw(host, last, reading))).toEqual(['400'])
  })
})
