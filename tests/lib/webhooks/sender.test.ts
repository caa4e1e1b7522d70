import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createServer as createTcpServer } from 'node:net'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { AddressRules, type Resolve, resolveBySystem } from '../../../lib/webhooks/address-rules.ts'
import { Sender } from '../../../lib/webhooks/sender.ts'
import { type Receiver, startReceiver } from '../../support/webhook-receiver.ts'

let receiver: Receiver
beforeAll(async () => {
  receiver = await startReceiver()
})
afterAll(() => receiver.close())
beforeEach(() => {
  receiver.answer(204)
  receiver.received.length = 0
})

const loopback = new AddressRules(['127.0.0.1'])
const senderOf = (resolve: Resolve = resolveBySystem, rules = loopback, timeoutMs = 10_000) =>
  new Sender({ rules, resolve, timeoutMs })
const send = (sender: Sender, url = receiver.url) =>
  sender.send({ url, body: '{"type":"a"}', headers: { 'webhook-id': 'e1' } })
const names =
  (...answers: string[]): Resolve =>
  async () => [{ address: answers.shift() ?? '', family: 4 }]

describe('a request', () => {
  it('carries the body and the headers', async () => {
    const attempt = await send(senderOf())
    expect(attempt).toMatchObject({ statusCode: 204, error: null, answer: '' })
    expect(receiver.received).toMatchObject([
      {
        id: 'e1',
        text: '{"type":"a"}',
        headers: { 'content-type': 'application/json', 'user-agent': expect.stringMatching(/^IoTFlow\/\d/) },
      },
    ])
  })

  it.each([
    [500, 'The receiver answered 500.'],
    [404, 'The receiver answered 404.'],
    [410, 'The receiver answered 410.'],
    [304, 'The receiver redirects, which is not followed.'],
  ])('that is answered with %s has failed', async (status, error) => {
    receiver.answer(status)
    expect(await send(senderOf())).toMatchObject({ statusCode: status, error })
  })

  it('follows no redirect', async () => {
    receiver.answer(
      () => (response: ServerResponse) => response.writeHead(307, { Location: receiver.url }).end(),
    )
    expect(await send(senderOf())).toMatchObject({
      statusCode: 307,
      error: expect.stringMatching(/redirects/),
    })
    expect(receiver.received).toHaveLength(1)
  })

  it('reads a bounded part of an answer that never ends, and closes the connection', async () => {
    let sent = 0
    receiver.answer(() => (response: ServerResponse) => {
      const chunk = Buffer.alloc(65_536, 'x')
      const write = () => {
        while (!response.destroyed && sent < 1e9) {
          sent += chunk.length
          if (!response.write(chunk)) return
        }
      }
      response.writeHead(200).on('drain', write)
      write()
    })
    const attempt = await send(senderOf())
    expect(attempt).toMatchObject({ statusCode: 200, error: null, answer: 'x'.repeat(1024) })
    expect(attempt?.durationMs).toBeLessThan(9000)
    await expect.poll(receiver.open, { timeout: 60_000 }).toBe(0)
    expect(sent).toBeLessThan(64_000_000)
  })

  it('ends in time when nobody answers, and when the answer does not end', async () => {
    receiver.answer(() => () => {})
    const sender = senderOf(resolveBySystem, loopback, 300)
    expect(await send(sender)).toMatchObject({ statusCode: null, error: 'There was no answer within 0.3 s.' })
    receiver.answer(() => (response: ServerResponse) => {
      response.writeHead(202)
      response.write('going on')
    })
    expect(await send(sender)).toMatchObject({ statusCode: 202, error: null, answer: 'going on' })
    await expect.poll(receiver.open, { timeout: 60_000 }).toBe(0)
  })

  it('ends in time also while headers trickle, and with headers without end', async () => {
    const server = createTcpServer((socket) => {
      socket.on('error', () => {})
      socket.write('HTTP/1.1 200 OK\r\n')
      const timer = setInterval(() => socket.write('X-A: b\r\n'), 50)
      socket.on('close', () => clearInterval(timer))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const attempt = await send(senderOf(resolveBySystem, loopback, 400), `http://127.0.0.1:${port}`)
    expect(attempt).toMatchObject({ statusCode: null, error: 'There was no answer within 0.4 s.' })
    server.removeAllListeners('connection').on('connection', (socket) => {
      socket.on('error', () => {})
      socket.write(`HTTP/1.1 200 OK\r\nX-A: ${'b'.repeat(100_000)}`)
    })
    expect(await send(senderOf(), `http://127.0.0.1:${port}`)).toMatchObject({
      error: 'The headers of the answer are too large.',
    })
    server.close()
  })

  it.each([
    [
      '101 with an upgrade',
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nabc',
    ],
    ['nothing', ''],
    ['no HTTP', 'SSH-2.0-server\r\n'],
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n'],
    ['a header of 1 MB', `HTTP/1.1 200 OK\r\nX: ${'a'.repeat(1 << 20)}\r\n\r\n`],
    ['100 again and again', 'HTTP/1.1 100 Continue\r\n\r\n'.repeat(10_000)],
  ])('has failed when the answer is %s', { timeout: 20_000 }, async (_name, answer) => {
    const server = createTcpServer((socket) => {
      socket.on('error', () => undefined)
      socket.once('data', () => (answer === '' ? socket.end() : socket.write(answer)))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const attempt = await send(senderOf(resolveBySystem, loopback, 5000), `http://127.0.0.1:${port}/`)
    server.close()
    expect(attempt).toMatchObject({ statusCode: null, error: expect.any(String), answer: null })
  })

  it('unpacks nothing: a small answer stays small', async () => {
    const bomb = gzipSync(Buffer.alloc(50_000_000))
    receiver.answer(
      () => (response: ServerResponse) => response.writeHead(200, { 'Content-Encoding': 'gzip' }).end(bomb),
    )
    const attempt = await send(senderOf())
    expect(attempt).toMatchObject({ statusCode: 200, error: null })
    expect(attempt?.answer?.length).toBeLessThanOrEqual(1024)
  })

  it('says in a sentence why there is no connection, without the address', async () => {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    await new Promise((resolve) => server.close(resolve))
    const refused = await send(senderOf(), `http://127.0.0.1:${port}/token-in-the-path`)
    expect(refused).toMatchObject({ error: 'The connection was refused.', statusCode: null, answer: null })
    const tls = await send(senderOf(), `https://127.0.0.1:${receiver.port}/token-in-the-path`)
    expect(tls?.error).toMatch(/^The request failed \([A-Z_]+\)\.$/)
    const unknown = await send(senderOf(), 'https://no-such-name.invalid/token-in-the-path')
    expect(unknown?.error).toMatch(/^The name of the host /)
    expect(JSON.stringify([refused, tls, unknown])).not.toContain('token-in-the-path')
  })

  it('that is ended by its caller has no result', async () => {
    receiver.answer(() => () => {})
    const ending = new AbortController()
    const sending = senderOf().send({ url: receiver.url, body: '{}', headers: {} }, ending.signal)
    await expect.poll(receiver.open, { timeout: 60_000 }).toBe(1)
    ending.abort()
    expect(await sending).toBeUndefined()
    expect(
      await senderOf().send({ url: receiver.url, body: '{}', headers: {} }, ending.signal),
    ).toBeUndefined()
  })
})

describe('the address of a name', () => {
  it('is checked at every request: one that leads to a private address later is refused then', async () => {
    const rules = new AddressRules(['127.0.0.1'])
    const sender = senderOf(names('127.0.0.1', '127.0.0.2'), rules)
    const url = `http://rebinding.example:${receiver.port}/hook`
    expect(await send(sender, url)).toMatchObject({ statusCode: 204 })
    expect(await send(sender, url)).toMatchObject({
      statusCode: null,
      error: expect.stringMatching(/^The host leads to a private or reserved address/),
    })
    expect(receiver.received).toHaveLength(1)
  })

  it('is asked for once: the connection goes to the address that was checked', async () => {
    let asked = 0
    const resolve: Resolve = async () => {
      asked += 1
      // A second question would get the address that is refused.
      return [{ address: asked === 1 ? '127.0.0.1' : '169.254.169.254', family: 4 }]
    }
    const url = `http://rebinding.example:${receiver.port}/hook`
    expect(await send(senderOf(resolve), url)).toMatchObject({ statusCode: 204 })
    expect([asked, receiver.received[0]?.headers.host]).toEqual([1, `rebinding.example:${receiver.port}`])
  })

  it('is refused when one of several is private, and nothing is sent to any', async () => {
    const resolve: Resolve = async () => [
      { address: '127.0.0.1', family: 4 },
      { address: '::1', family: 6 },
    ]
    const attempt = await send(senderOf(resolve), `http://both.example:${receiver.port}/hook`)
    expect(attempt?.error).toMatch(/private or reserved/)
    expect(receiver.received).toEqual([])
  })

  it('of localhost is refused by the real resolver, unless it is allowed', async () => {
    const url = `http://localhost:${receiver.port}/hook`
    expect(await send(senderOf(resolveBySystem, new AddressRules(['10.0.0.1'])), url)).toMatchObject({
      error: expect.stringMatching(/private or reserved/),
    })
    expect(await send(senderOf(resolveBySystem, new AddressRules(['127.0.0.1', '::1'])), url)).toMatchObject({
      statusCode: 204,
    })
  })

  it('in the URL is checked, too, although no name is resolved', async () => {
    for (const host of ['127.0.0.1', '2130706433', '[::ffff:127.0.0.1]', '[::1]'])
      expect(
        await send(senderOf(resolveBySystem, new AddressRules([])), `http://${host}:${receiver.port}`),
      ).toMatchObject({
        statusCode: null,
        error: expect.stringMatching(/private or reserved/),
      })
    expect(receiver.received).toEqual([])
  })
})
