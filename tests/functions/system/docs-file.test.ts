import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { handler } from '../../../functions/system/docs-file.ts'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'

let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions()
})
afterAll(() => functions.close())

/** The answer with its bytes as they came. */
const get = async (name: string, headers: Record<string, string> = {}) => {
  const response = await (await handler.app()).request(`/docs/${name}`, { headers })
  return {
    status: response.status,
    headers: response.headers,
    body: Buffer.from(await response.arrayBuffer()),
  }
}

const script = readFileSync('node_modules/swagger-ui-dist/swagger-ui-bundle.js')

describe('the files of the page that documents the API', () => {
  it('are those of the package, compressed where the client takes gzip', async () => {
    const plain = await get('viewer.js')
    expect(plain.headers.get('content-encoding')).toBeNull()
    expect(plain.body.equals(script)).toBe(true)
    const compressed = await get('viewer.js', { 'Accept-Encoding': 'gzip, deflate, br' })
    expect(compressed.headers.get('content-encoding')).toBe('gzip')
    expect(gunzipSync(compressed.body).equals(script)).toBe(true)
    for (const { headers } of [plain, compressed])
      expect([headers.get('vary'), headers.get('content-type')]).toEqual([
        'Accept-Encoding',
        'text/javascript; charset=utf-8',
      ])
    expect((await get('viewer.css')).headers.get('content-type')).toBe('text/css; charset=utf-8')
  })

  it('are answered with 304 and no body to a client that has them', async () => {
    const { headers } = await get('start.js')
    expect(headers.get('cache-control')).toBe('no-cache')
    const again = await get('start.js', { 'If-None-Match': headers.get('etag') ?? '' })
    expect([again.status, again.body.length]).toEqual([304, 0])
  })

  it('reach API Gateway in Base64 when they are compressed, within what Lambda may answer', async () => {
    const event = {
      version: '2.0',
      rawPath: '/docs/viewer.js',
      rawQueryString: '',
      headers: { host: 'api.example', 'accept-encoding': 'gzip' },
      requestContext: { http: { method: 'GET', path: '/docs/viewer.js', sourceIp: '203.0.113.7' } },
      isBase64Encoded: false,
    }
    const answer = (await handler(event as never, {} as never)) as { isBase64Encoded: boolean; body: string }
    expect(answer.isBase64Encoded).toBe(true)
    expect(answer.body.length).toBeLessThan(6_000_000)
    expect(gunzipSync(Buffer.from(answer.body, 'base64')).equals(script)).toBe(true)
  })

  it.each(['index.html', 'constructor', '__proto__', '..%2f..%2fpackage.json'])(
    'have no %s',
    async (name) => {
      const { status, body } = await get(name)
      expect([status, JSON.parse(body.toString()).error.code]).toEqual([404, 'NOT_FOUND'])
    },
  )
})
