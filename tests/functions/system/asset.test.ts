import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { dashboardAssets } from '#dashboard-files'
import { handler } from '../../../functions/system/asset.ts'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'

let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions()
})
afterAll(() => functions.close())

const names = Object.keys(dashboardAssets)
const script = names.find((name) => /^main-.*\.js$/.test(name)) ?? ''
const plain = gunzipSync(Buffer.from(dashboardAssets[script]?.gzip ?? '', 'base64'))

/** The answer with its bytes as they came. */
const get = async (name: string, headers: Record<string, string> = {}) => {
  const response = await (await handler.app()).request(`/assets/${name}`, { headers })
  return {
    status: response.status,
    headers: response.headers,
    body: Buffer.from(await response.arrayBuffer()),
  }
}

describe('the assets of the dashboard', () => {
  it('are kept for a year, because another content has another name', async () => {
    expect(names.length).toBeGreaterThan(2)
    for (const name of names) {
      expect(name).toMatch(/^[\w-]+-[A-Z0-9]{8}\.(js|css|svg)$/)
      const { status, headers } = await get(name)
      expect([status, headers.get('cache-control')]).toEqual([200, 'public, max-age=31536000, immutable'])
      const again = await get(name, { 'If-None-Match': headers.get('etag') ?? '' })
      expect([again.status, again.body.length]).toEqual([304, 0])
    }
  })

  it.each([
    ['gzip, deflate, br', 'br', brotliDecompressSync],
    ['gzip, deflate', 'gzip', gunzipSync],
    ['br;q=0, gzip;q=0.5', 'gzip', gunzipSync],
    ['identity', null, (body: Buffer) => body],
    ['', null, (body: Buffer) => body],
  ])('are sent to a client that takes "%s" as %s', async (accepted, encoding, decode) => {
    const { headers, body } = await get(script, { 'Accept-Encoding': accepted })
    expect([headers.get('content-encoding'), headers.get('vary')]).toEqual([encoding, 'Accept-Encoding'])
    expect(headers.get('content-type')).toBe('text/javascript; charset=utf-8')
    expect(decode(body).equals(plain)).toBe(true)
  })

  it('reach API Gateway in Base64 when they are compressed', async () => {
    const event = {
      version: '2.0',
      rawPath: `/assets/${script}`,
      rawQueryString: '',
      headers: { host: 'api.example', 'accept-encoding': 'br' },
      requestContext: { http: { method: 'GET', path: `/assets/${script}`, sourceIp: '203.0.113.7' } },
      isBase64Encoded: false,
    }
    const answer = (await handler(event as never, {} as never)) as { isBase64Encoded: boolean; body: string }
    expect(answer.isBase64Encoded).toBe(true)
    expect(brotliDecompressSync(Buffer.from(answer.body, 'base64')).equals(plain)).toBe(true)
  })

  it('are small: at most 150 KB of script and style, compressed', () => {
    const total = names
      .filter((name) => /\.(js|css)$/.test(name))
      .map((name) => Buffer.from(dashboardAssets[name]?.gzip ?? '', 'base64').length)
      .reduce((sum, size) => sum + size, 0)
    process.stdout.write(
      `\nThe dashboard has ${names.length} assets; script and style: ${total} bytes gzipped.\n`,
    )
    expect(total).toBeLessThan(150_000)
  })

  it.each(['main.js', 'constructor', '__proto__', '..%2f..%2fpackage.json'])('have no %s', async (name) => {
    const { status, body } = await get(name)
    expect([status, JSON.parse(body.toString()).error.code]).toEqual([404, 'NOT_FOUND'])
  })
})
