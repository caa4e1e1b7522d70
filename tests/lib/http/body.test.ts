import type { AddressInfo } from 'node:net'
import { deflateRawSync, deflateSync, gzipSync } from 'node:zlib'
import { serve } from '@hono/node-server'
import { describe, expect, it } from 'vitest'
import { maxBodyBytes, readBytes, readJson } from '../../../lib/http/body.ts'
import { appFor } from '../../support/http-app.ts'

type App = ReturnType<typeof appFor>

const json = { 'Content-Type': 'application/json' }

const post = async (app: App, init: RequestInit & { duplex?: 'half' }) =>
  (await app.request('/', { method: 'POST', headers: json, ...init })).json()

/** A JSON string of exactly this many bytes. */
const jsonOf = (bytes: number) => `"${'x'.repeat(bytes - 2)}"`

/** The same text as a body of unknown length, in pieces. */
const streamOf = (text: string, pieceBytes = 64 * 1024) =>
  new ReadableStream<Uint8Array>({
    start(controller) {
      const bytes = Buffer.from(text)
      for (let at = 0; at < bytes.length; at += pieceBytes)
        controller.enqueue(new Uint8Array(bytes.subarray(at, at + pieceBytes)))
      controller.close()
    },
  })

describe('a JSON body', () => {
  const app = appFor('POST /', (c) => readJson(c))

  it.each([
    'application/json',
    'application/json; charset=utf-8',
    'APPLICATION/JSON',
    'application/senml+json',
    'application/vnd.api+json;v=1',
  ])('is read with the content type %s', async (type) => {
    expect(await post(app, { body: '{"a":1}', headers: { 'Content-Type': type } })).toEqual({
      value: { a: 1 },
    })
  })

  it.each(['text/plain', 'application/jsonp', 'application/x-www-form-urlencoded', 'text/json', 'json'])(
    'is refused with the content type %s',
    async (type) => {
      expect(await post(app, { body: '{"a":1}', headers: { 'Content-Type': type } })).toMatchObject({
        code: 'UNSUPPORTED_MEDIA_TYPE',
      })
    },
  )

  it('is read without a content type', async () => {
    const request = new Request('http://localhost/', {
      method: 'POST',
      body: new Uint8Array(Buffer.from('[1]')),
    })
    expect(request.headers.has('content-type')).toBe(false)
    expect(await (await app.request(request)).json()).toEqual({ value: [1] })
  })

  it('may be absent: nothing is read then', async () => {
    expect(await post(app, {})).toEqual({})
    expect(await post(app, { body: '' })).toEqual({})
  })

  it.each([
    ['a part of JSON', '{"a":'],
    ['single quotes', "{'a':1}"],
    ['something behind it', '{} x'],
  ])('is refused with %s, and nothing of it stands in the message', async (_what, body) => {
    expect(await post(app, { body })).toEqual({
      code: 'MALFORMED_JSON',
      message: 'The body is not valid JSON.',
    })
  })

  it('of 1 MiB is read, of one byte more it is refused', async () => {
    const read = (await post(app, { body: jsonOf(maxBodyBytes) })) as { value: string }
    expect(read.value).toHaveLength(maxBodyBytes - 2)
    expect(await post(app, { body: jsonOf(maxBodyBytes + 1) })).toMatchObject({ code: 'PAYLOAD_TOO_LARGE' })
  })

  it('of unknown length is read up to the same bound', async () => {
    const read = (await post(app, { body: streamOf(jsonOf(maxBodyBytes)), duplex: 'half' })) as {
      value: string
    }
    expect(read.value).toHaveLength(maxBodyBytes - 2)
    expect(await post(app, { body: streamOf(jsonOf(maxBodyBytes + 1)), duplex: 'half' })).toMatchObject({
      code: 'PAYLOAD_TOO_LARGE',
    })
  })

  it.each(['1e9', 'abc', '1048577'])('is refused when its Content-Length is %s', async (length) => {
    const answer = await post(app, { body: '{}', headers: { ...json, 'Content-Length': length } })
    expect(answer).toMatchObject({ code: 'PAYLOAD_TOO_LARGE' })
  })

  it('that breaks off is refused', async () => {
    const body = new ReadableStream({
      pull(controller) {
        controller.error(new Error('reset by peer'))
      },
    })
    expect(await post(app, { body, duplex: 'half' })).toEqual({
      code: 'BAD_REQUEST',
      message: 'The body could not be read to its end.',
    })
  })
})

describe('a JSON body from the Node server', () => {
  const overNode = async (init: RequestInit & { duplex?: 'half' }) => {
    const app = appFor('POST /', (c) => readJson(c))
    const server = serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' })
    try {
      if (!server.listening) await new Promise((resolve) => server.once('listening', resolve))
      const { port } = server.address() as AddressInfo
      const answer = await fetch(`http://127.0.0.1:${port}/`, { method: 'POST', headers: json, ...init })
      return await answer.json()
    } finally {
      await new Promise((resolve) => server.close(resolve))
    }
  }

  it('is read in one piece and in several', async () => {
    expect(await overNode({ body: '{"a":1}' })).toEqual({ value: { a: 1 } })
    const text = JSON.stringify({ text: 'é'.repeat(200_000) })
    expect(await overNode({ body: streamOf(text, 7777), duplex: 'half' })).toEqual({
      value: JSON.parse(text),
    })
  })

  it('is refused above 1 MiB, with its length told or not', async () => {
    const tooLarge = { code: 'PAYLOAD_TOO_LARGE' }
    expect(await overNode({ body: jsonOf(maxBodyBytes + 1) })).toMatchObject(tooLarge)
    expect(await overNode({ body: streamOf(jsonOf(maxBodyBytes + 1)), duplex: 'half' })).toMatchObject(
      tooLarge,
    )
  })
})

const accepts = ['application/json', 'application/senml+json']

describe('the bytes of a body', () => {
  const app = appFor('POST /', async (c) => [...(await readBytes(c, { accepts }))])

  it('are those that were sent, valid UTF-8 or not', async () => {
    const bytes = Buffer.from([0xef, 0xbb, 0xbf, 0x7b, 0xb0, 0x00, 0x7d, 0xff])
    expect(await post(app, { body: bytes })).toEqual({ value: [...bytes] })
  })

  it.each([...accepts, 'application/SenML+JSON; charset=utf-8'])(
    'are read with the accepted content type %s',
    async (type) => {
      expect(await post(app, { body: '{}', headers: { 'Content-Type': type } })).toEqual({
        value: [123, 125],
      })
    },
  )

  it.each(['application/vnd.api+json', 'application/senml+xml', 'text/plain', ''])(
    'are refused with the content type "%s", and the accepted ones are named',
    async (type) => {
      expect(await post(app, { body: '{}', headers: { 'Content-Type': type } })).toMatchObject({
        code: 'UNSUPPORTED_MEDIA_TYPE',
        message: expect.stringContaining('application/json or application/senml+json'),
      })
    },
  )
})

describe('a compressed body', () => {
  const app = appFor('POST /', (c) => readJson(c))
  const compressed = (encoding: string, body: Uint8Array) =>
    post(app, { body: new Uint8Array(body), headers: { ...json, 'Content-Encoding': encoding } })
  const text = Buffer.from(JSON.stringify({ text: 'é'.repeat(5000) }))
  const value = JSON.parse(text.toString())

  it.each<[string, Uint8Array]>([
    ['gzip', gzipSync(text)],
    ['x-gzip', gzipSync(text)],
    [' GZIP ', gzipSync(text)],
    ['deflate', deflateSync(text)],
    ['deflate', deflateRawSync(text)],
    ['identity', text],
    ['', text],
  ])('is read with the Content-Encoding "%s"', async (encoding, body) => {
    expect(await compressed(encoding, body)).toEqual({ value })
  })

  it('may have several members, as gzip allows', async () => {
    const members = [text.subarray(0, 9), text.subarray(9)].map((part) => gzipSync(part))
    expect(await compressed('gzip', Buffer.concat(members))).toEqual({ value })
  })

  it('may be empty', async () => {
    expect(await compressed('gzip', Buffer.alloc(0))).toEqual({})
  })

  it.each(['gzip', 'deflate'] as const)('in %s is read up to 1 MiB, as decompressed', async (encoding) => {
    const run = encoding === 'gzip' ? gzipSync : deflateSync
    const read = (await compressed(encoding, run(jsonOf(maxBodyBytes)))) as { value: string }
    expect(read.value).toHaveLength(maxBodyBytes - 2)
    expect(await compressed(encoding, run(jsonOf(maxBodyBytes + 1)))).toMatchObject({
      code: 'PAYLOAD_TOO_LARGE',
    })
  })

  it('that would become huge is refused, and memory holds no more than the bound', async () => {
    const bomb = gzipSync(Buffer.alloc(256 * 1024 * 1024))
    expect(bomb.length).toBeLessThan(maxBodyBytes)
    const before = process.memoryUsage().arrayBuffers
    let most = 0
    const watch = setInterval(() => {
      most = Math.max(most, process.memoryUsage().arrayBuffers - before)
    }, 1)
    expect(await compressed('gzip', bomb)).toMatchObject({ code: 'PAYLOAD_TOO_LARGE' })
    clearInterval(watch)
    expect(most).toBeLessThan(16 * maxBodyBytes)
  })

  it.each<[string, string, Uint8Array]>([
    ['plain text', 'gzip', text],
    ['the first half', 'gzip', gzipSync(text).subarray(0, 20)],
    ['gzip', 'deflate', gzipSync(text)],
    ['plain text', 'deflate', text],
  ])('that is %s instead of %s is refused', async (_what, encoding, body) => {
    expect(await compressed(encoding, body)).toMatchObject({
      code: 'BAD_REQUEST',
      message: `The body is not valid ${encoding}.`,
    })
  })

  it.each(['br', 'zstd', 'gzip, gzip', 'compress', 'constructor'])(
    'in another encoding, %s, is refused, and the answer names those that are taken',
    async (encoding) => {
      const answer = await app.request('/', {
        method: 'POST',
        headers: { ...json, 'Content-Encoding': encoding },
        body: '{}',
      })
      expect(await answer.json()).toMatchObject({ code: 'UNSUPPORTED_MEDIA_TYPE' })
      expect(answer.headers.get('accept-encoding')).toBe('gzip, deflate')
    },
  )
})
