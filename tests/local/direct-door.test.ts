/** The door for plain requests answers whatever comes as Node's server does alone: the bytes of the answers are the same. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import type { RequestContext } from '../../lib/http/context.ts'
import type { DirectAnswer } from '../../lib/http/endpoint.ts'
import { DirectDoor } from '../../local/direct-door.ts'
import { until } from '../support/waiting.ts'

const path = '/api/v1/telemetry'
const limits = {
  headersTimeout: 300,
  requestTimeout: 400,
  keepAliveTimeout: 1000,
  connectionsCheckingInterval: 20,
  requireHostHeader: false,
}
const shownHeaders = ['content-type', 'x-api-key', 'prefer', 'x-forwarded-for', 'idempotency-key']

const respond = (header: (name: string) => string | undefined, url: string | undefined, body: Uint8Array) =>
  JSON.stringify({
    url,
    headers: shownHeaders.map(header),
    body: Buffer.from(body).toString('latin1'),
  })

interface Opened {
  readonly server: Server
  readonly door: DirectDoor | undefined
  readonly port: number
  /** Requests that Node has read. */
  readNode: number
  readDirectly: number
  /** Delays the answers of the door. */
  until: Promise<unknown>
  /** Answers in place of the door's own answer. */
  answerWith: ((c: RequestContext) => void) | undefined
}

const opened: Opened[] = []
let closing = false

const refuse = (code: string | undefined) => `HTTP/1.1 400 ${code}\r\nConnection: close\r\n\r\n`

const open = async (isDirect: boolean): Promise<Opened> => {
  const readByNode = (request: IncomingMessage, response: ServerResponse) => {
    one.readNode += 1
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('error', () => undefined)
    request.on('end', () => {
      const text = respond((name) => request.headers[name] as string, request.url, Buffer.concat(chunks))
      response.writeHead(201, { 'X-Answer': 'yes', 'Content-Length': Buffer.byteLength(text) }).end(text)
    })
  }
  const server = createServer(limits, readByNode)
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => socket.end(refuse(error.code)))
  const answer: DirectAnswer = async (c: RequestContext) => {
    one.readDirectly += 1
    await one.until
    if (one.answerWith !== undefined) {
      one.answerWith(c)
      return
    }
    const text = respond((name) => c.req.header(name), c.req.path, c.takeBody?.() ?? Buffer.alloc(0))
    c.respond?.(text, 201, { 'X-Answer': 'yes' })
  }
  const door = isDirect
    ? new DirectDoor({
        server,
        event: 'connection',
        answers: new Map([[path, answer]]),
        isClosing: () => closing,
      })
    : undefined
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const one: Opened = {
    server,
    door,
    port,
    readNode: 0,
    readDirectly: 0,
    until: Promise.resolve(),
    answerWith: undefined,
  }
  opened.push(one)
  return one
}

let direct: Opened
let node: Opened

beforeAll(async () => {
  direct = await open(true)
  node = await open(false)
})
afterEach(() => {
  closing = false
  direct.until = Promise.resolve()
  direct.answerWith = undefined
})
afterAll(() => {
  for (const { server, door } of opened) {
    server.close()
    server.closeAllConnections()
    door?.closeAll()
  }
})

const withoutDates = (text: string) => text.replace(/Date: [^\r]*GMT/g, 'Date: now')

/**
 * Sends the parts, 5 ms apart. @param afterAnswers each part waits for the answer to the one before it, so that none come together.
 * @returns what came back until the connection was closed.
 */
const exchange = (port: number, parts: readonly (string | Buffer)[], afterAnswers = false) =>
  new Promise<string>((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true })
    let text = ''
    let answered = () => {}
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1')
      answered()
    })
    socket.on('close', () => resolve(withoutDates(text)))
    socket.on('error', (error: NodeJS.ErrnoException) =>
      error.code === 'ECONNRESET' ? undefined : reject(error),
    )
    socket.on('connect', async () => {
      for (const part of parts) {
        const answer = new Promise<void>((done) => {
          answered = done
        })
        socket.write(part, 'latin1')
        await (afterAnswers ? answer : sleep(5))
      }
    })
  })

interface RequestFields {
  readonly line?: string
  readonly headers?: readonly string[]
  readonly body?: string
}

const host = 'Host: localhost:8080'
const typical = ['Content-Type: application/json', 'X-API-Key: abcdefghijklmnopqrstuvwxyz012345']
const request = ({ line = `POST ${path} HTTP/1.1`, headers = typical, body = '{"a":1}' }: RequestFields) =>
  `${[line, host, ...headers, `Content-Length: ${Buffer.byteLength(body, 'latin1')}`].join('\r\n')}\r\n\r\n${body}`
/** The last request of a connection goes to Node: `Connection: close` is never plain. */
const last = request({ headers: ['Connection: close'] })

const expectAlike = async (parts: readonly (string | Buffer)[], afterAnswers = false) => {
  const [ours, theirs] = await Promise.all(
    [direct, node].map(({ port }) => exchange(port, parts, afterAnswers)),
  )
  expect(ours).toBe(theirs)
  return ours ?? ''
}

/** A connection to the server with the door, with its other end. */
const connected = async () => {
  const socket = connect({ host: '127.0.0.1', port: direct.port, allowHalfOpen: true, noDelay: true })
  const [[serverSide]] = (await Promise.all([
    once(direct.server, 'connection'),
    once(socket, 'connect'),
  ])) as [[Socket], unknown]
  return { socket, serverSide }
}

describe('a plain request', () => {
  test.each<[string, RequestFields]>([
    ['as most clients send it', {}],
    ['without a body', { body: '' }],
    ['with names in other cases', { headers: ['x-api-key: a', 'CONTENT-TYPE: text/plain'] }],
    ['that wants the connection kept', { headers: ['Connection: Keep-Alive'] }],
    ['from a proxy', { headers: ['X-Forwarded-For: 10.0.0.1, 10.0.0.2'] }],
    ['with a name of an object', { headers: ['__proto__: a', 'constructor: b'] }],
    ['whose body holds other letters', { body: 'ä\u0000\r\n\r\nGET / HTTP/1.1' }],
    ['with a long body', { body: 'x'.repeat(20_000) }],
  ])('%s does not reach Node, and is answered as there', async (_, fields) => {
    const before = { ...direct }
    const text = await expectAlike([request(fields), last], true)
    expect(text.match(/HTTP\/1\.1 201/g)).toHaveLength(2)
    expect(direct.readDirectly - before.readDirectly).toBe(1)
    expect(direct.readNode - before.readNode).toBe(1)
  })

  test('may come as a head and a body', async () => {
    const before = { ...direct }
    const { socket, serverSide } = await connected()
    const text = request({})
    socket.write(text.slice(0, -7))
    await expect.poll(() => serverSide.bytesRead).toBe(text.length - 7)
    socket.write(text.slice(-7))
    await once(socket, 'data')
    socket.destroy()
    expect(direct.readDirectly - before.readDirectly).toBe(1)
    expect(direct.readNode).toBe(before.readNode)
  })

  test('follows another one on its connection a thousand times', async () => {
    const before = { ...direct }
    const socket = connect(direct.port, '127.0.0.1')
    let answers = 0
    await new Promise<void>((resolve) => {
      socket.on('data', (chunk) => {
        answers += chunk.toString().match(/HTTP\/1\.1 201/g)?.length ?? 0
        if (answers === 1000) resolve()
        else socket.write(request({ body: `{"n":${answers}}` }))
      })
      socket.write(request({}))
    })
    socket.destroy()
    expect(direct.readDirectly - before.readDirectly).toBe(1000)
    expect(direct.readNode).toBe(before.readNode)
  })
})

describe('is answered as by Node alone:', () => {
  const line = `POST ${path} HTTP/1.1`
  test.each<[string, readonly string[]]>([
    ['another path', [request({ line: 'POST /other HTTP/1.1' }), last]],
    ['a query', [request({ line: `POST ${path}?a=1 HTTP/1.1` }), last]],
    ['an absolute address', [request({ line: `POST http://localhost:8080${path} HTTP/1.1` }), last]],
    ['another method', [request({ line: `PUT ${path} HTTP/1.1` }), last]],
    ['HTTP/1.0', [request({ line: `POST ${path} HTTP/1.0` })]],
    ['two spaces', [request({ line: `POST  ${path} HTTP/1.1` })]],
    ['a header twice', [request({ headers: ['X-API-Key: a', 'x-api-key: b'] }), last]],
    ['an empty header', [request({ headers: ['X-API-Key:'] }), last]],
    ['a header without a space', [request({ headers: ['X-API-Key:a'] }), last]],
    ['a space behind a value', [request({ headers: ['X-API-Key: a '] }), last]],
    ['a tab behind a value', [request({ headers: ['X-API-Key: a\t'] }), last]],
    ['a space before the colon', [request({ headers: ['X-API-Key : a'] })]],
    ['a folded header', [request({ headers: ['X-API-Key: a', ' b'] })]],
    ['a header that is no ASCII', [request({ headers: ['X-API-Key: ä'] }), last]],
    ['a carriage return in a header', [request({ headers: ['X-API-Key: a\rb'] })]],
    ['a line feed in a header', [request({ headers: ['X-API-Key: a\nContent-Type: b'] }), last]],
    ['a zero in a header', [request({ headers: ['X-API-Key: a\u0000b'] })]],
    ['lines that end with a line feed', [`${line}\n${host}\nContent-Length: 1\n\nx`]],
    ['no host', [`${line}\r\nContent-Length: 1\r\n\r\nx`, last]],
    ['another spelling of the host', [`${line}\r\nHost: LOCAL host\r\nContent-Length: 1\r\n\r\nx`, last]],
    ['no length', [`${line}\r\n${host}\r\n\r\n`, last]],
    ['a length that is no number', [`${line}\r\n${host}\r\nContent-Length: 1x\r\n\r\nx`]],
    ['a length with a sign', [`${line}\r\n${host}\r\nContent-Length: +1\r\n\r\nx`]],
    ['two lengths', [request({ headers: ['Content-Length: 7'] })]],
    ['a list of lengths', [`${line}\r\n${host}\r\nContent-Length: 1, 1\r\n\r\nx`]],
    ['a length with a zero in front', [`${line}\r\n${host}\r\nContent-Length: 01\r\n\r\nx`, last]],
    ['chunks', [`${line}\r\n${host}\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n`, last]],
    ['chunks and a length', [request({ headers: ['Transfer-Encoding: chunked'] })]],
    ['an encoding of the transfer that is not known', [request({ headers: ['Transfer-Encoding: x'] })]],
    ['a client that waits for 100', [request({ headers: ['Expect: 100-continue'] }), last]],
    ['another protocol', [request({ headers: ['Connection: upgrade', 'Upgrade: x'] }), last]],
    ['the end of a connection', [last]],
    ['the end of a connection over a proxy', [request({ headers: ['Proxy-Connection: close'] })]],
    ['several requests at once', [request({}) + request({ body: '2' }) + request({ body: '3' }) + last]],
    ['a request and a half', [request({}) + request({}).slice(0, 40), request({}).slice(40), last]],
    ['a body in three parts', [request({}).slice(0, -4), '":', '1}', last]],
    ['a head in two parts', [request({}).slice(0, 30), request({}).slice(30), last]],
    ['a long head', [request({ headers: [`X-Long: ${'x'.repeat(5000)}`] }), last]],
    ['a head that is too long', [request({ headers: [`X-Long: ${'x'.repeat(20_000)}`] })]],
    ['a large body', [request({ body: 'x'.repeat(70_000) }), last]],
    ['no request at all', ['nonsense\r\n\r\n']],
    ['a plain request and then nonsense', [request({}), 'nonsense\r\n\r\n']],
    ['silence', []],
    ['silence in the middle of a head', [request({}).slice(0, 30)]],
    ['silence in the middle of a body', [request({}).slice(0, -2)]],
    ['silence behind an answer', [request({})]],
  ])('%s', async (_, parts) => {
    await expectAlike(parts)
  })

  test('any change of a plain request, in any parts', async () => {
    const plain = request({})
    const pieces = [
      '\r',
      '\n',
      '\r\n',
      ' ',
      ':',
      '\t',
      '\u0000',
      'ä',
      'close',
      '0',
      'X',
      'chunked',
      ',',
      'POST ',
      '/',
    ]
    const change = fc.record({
      at: fc.nat(plain.length),
      left: fc.nat(3),
      piece: fc.constantFrom('', ...pieces),
    })
    await fc.assert(
      fc.asyncProperty(
        fc.array(change, { maxLength: 2 }),
        fc.array(fc.nat(plain.length), { maxLength: 2 }),
        async (changes, cuts) => {
          let text = plain
          for (const { at, left, piece } of changes) text = text.slice(0, at) + piece + text.slice(at + left)
          const at = [0, ...cuts.sort((a, b) => a - b), text.length]
          const parts = at.slice(1).map((end, index) => text.slice(at[index], end))
          await expectAlike([...parts.filter((part) => part !== ''), last])
        },
      ),
      { numRuns: 300, seed: 1 },
    )
  })
})

describe('the connection', () => {
  /** A request whose answer waits until it may be given. */
  const waiting = async () => {
    let give = () => {}
    direct.until = new Promise<void>((resolve) => {
      give = resolve
    })
    const before = direct.readDirectly
    const { socket, serverSide } = await connected()
    let text = ''
    socket.on('data', (chunk) => {
      text += chunk
    })
    socket.write(request({}))
    await expect.poll(() => direct.readDirectly).toBe(before + 1)
    return { socket, serverSide, give, text: () => text, closed: once(socket, 'close') }
  }

  test('of a client that has sent everything ends behind the answer', async () => {
    const { socket, serverSide, give, text, closed } = await waiting()
    socket.end()
    await once(serverSide, 'end')
    give()
    await closed
    expect(text()).toMatch(/^HTTP\/1\.1 201 [\s\S]*Connection: close/)
  })

  test('of a client that ends in the middle of a body is refused as by Node', async () => {
    const ends = (port: number) =>
      new Promise<string>((resolve) => {
        const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true })
        let text = ''
        socket.on('data', (chunk) => {
          text += chunk
        })
        socket.on('close', () => resolve(withoutDates(text)))
        socket.end(request({}).slice(0, -2))
      })
    const [ours, theirs] = await Promise.all([direct, node].map(({ port }) => ends(port)))
    expect(ours).toBe(theirs)
    expect(ours).toContain('HPE_INVALID_EOF_STATE')
  })

  test('of a client that has gone takes no answer', async () => {
    const { socket, serverSide, give, closed } = await waiting()
    const write = vi.spyOn(serverSide, 'write')
    const gone = new Promise((resolve) => serverSide.once('close', resolve))
    socket.resetAndDestroy()
    await Promise.all([closed, gone])
    give()
    await direct.until
    await setImmediate()
    expect(write).not.toHaveBeenCalled()
  })

  test('keeps what comes before the answer, for Node', async () => {
    const { socket, serverSide, give, text, closed } = await waiting()
    const from = serverSide.bytesRead
    socket.write(request({ body: '2' }) + last)
    await expect.poll(() => serverSide.bytesRead).toBeGreaterThan(from)
    expect(serverSide.isPaused()).toBe(true)
    give()
    await once(socket, 'end')
    socket.end()
    await closed
    expect(text().match(/HTTP\/1\.1 201/g)).toHaveLength(3)
  })

  test('of a client that has sent two requests and its end gives both to their handlers', async () => {
    const { socket, serverSide, give, closed } = await waiting()
    const [before, from] = [direct.readNode, serverSide.bytesRead]
    socket.end(request({ body: '2' }))
    await expect.poll(() => serverSide.bytesRead).toBeGreaterThan(from)
    give()
    await expect.poll(() => direct.readNode).toBe(before + 1)
    await closed
  })

  test('is not ended while an answer takes longer than a request may', async () => {
    const { socket, give } = await waiting()
    await sleep(limits.headersTimeout * 2)
    expect(socket.closed).toBe(false)
    give()
    await once(socket, 'data')
    socket.destroy()
  })

  test('is ended behind the answer when the server ends, and at once when no request is under way', async () => {
    const { socket, give, text, closed } = await waiting()
    const idle = await connected()
    closing = true
    direct.door?.closeIdle()
    await once(idle.socket.resume(), 'end')
    idle.socket.end()
    expect(socket.closed).toBe(false)
    give()
    await once(socket, 'end')
    socket.end()
    await closed
    expect(text()).toContain('Connection: close')
  })

  test('of a client that reads no answers is read again when it does', async () => {
    const from = { ...direct }
    const { socket, serverSide } = await connected()
    socket.pause()
    const sent = request({ body: 'x'.repeat(20_000) })
    for (let count = 1; !serverSide.isPaused(); count += 1) {
      socket.write(sent)
      await until(
        () => direct.readDirectly === from.readDirectly + count || serverSide.isPaused(),
        'the request, or the pause',
      )
    }
    expect(direct.readNode).toBe(from.readNode)
    socket.resume()
    await expect.poll(() => serverSide.isPaused()).toBe(false)
    socket.destroy()
  })

  test('keeps the promised time when its client takes an answer slowly', async () => {
    const { socket, serverSide } = await connected()
    direct.answerWith = (c) => void c.respond?.('x'.repeat(8_000_000), 201, {})
    let bytes = 0
    socket.on('data', (chunk) => {
      bytes += chunk.length
    })
    socket.write(request({}))
    await expect.poll(() => bytes).toBeGreaterThan(8_000_000)
    expect(serverSide.timeout).toBe(limits.keepAliveTimeout)
    socket.destroy()
  })

  test.each([false, true])(
    'is not cut in an answer that its client takes slowly, ended: %s',
    async (isLast) => {
      const { socket } = await connected()
      socket.pause()
      const length = 8_000_000
      closing = isLast
      const answered = new Promise<void>((resolve) => {
        direct.answerWith = (c) => {
          c.respond?.('x'.repeat(length), 201, {})
          resolve()
        }
      })
      socket.write(request({}))
      await answered
      closing = true
      direct.door?.closeIdle()
      let bytes = 0
      socket.on('data', (chunk) => {
        bytes += chunk.length
      })
      socket.resume()
      await expect.poll(() => bytes).toBeGreaterThan(length)
      direct.door?.closeIdle()
      await expect.poll(() => socket.readableEnded).toBe(true)
      socket.destroy()
    },
  )

  test('reads nothing behind its last answer', async () => {
    const { socket, give, text, closed } = await waiting()
    closing = true
    const before = { ...direct }
    give()
    socket.write(request({ body: '2' }))
    await once(socket, 'end')
    socket.end()
    await closed
    expect(text().match(/HTTP\/1\.1 201/g)).toHaveLength(1)
    expect(direct.readDirectly + direct.readNode).toBe(before.readDirectly + before.readNode)
  })

  test('takes no header that would begin another one', async () => {
    const { socket, serverSide } = await connected()
    const answer: Promise<unknown> = new Promise((resolve) => {
      direct.answerWith = (c) => {
        try {
          resolve(c.respond?.('{}', 201, { 'X-Answer': 'yes\r\nX-Other: no' }))
        } catch (error) {
          resolve(error)
        }
      }
    })
    socket.write(request({}))
    expect(await answer).toMatchObject({ code: 'ERR_INVALID_CHAR' })
    serverSide.destroy()
    socket.destroy()
  })
})
