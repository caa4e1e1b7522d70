import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'

let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions()
})
afterAll(() => functions.close())

const openapi = (path = '/openapi.json', headers: Record<string, string> = {}) =>
  functions.call('system-openapi', 'GET', path, { headers })

describe('the description of the API', () => {
  it('is an OpenAPI 3.1 document for anybody', async () => {
    const answer = await openapi()
    expect(answer.status).toBe(200)
    expect(answer.headers.get('content-type')).toBe('application/json')
    expect(answer.json.openapi).toMatch(/^3\.1\./)
    expect(answer.json.info).toMatchObject({
      title: 'IoTFlow',
      version: expect.stringMatching(/^\d+\.\d+\.\d+$/),
    })
  })

  it('names routes of devices, telemetry and administration', async () => {
    const { json } = await openapi()
    const described = Object.entries<object>(json.paths).flatMap(([path, operations]) =>
      Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`),
    )
    expect(described).toContain('POST /api/v1/devices/register')
    expect(described).toContain('PUT /api/v1/admin/devices/{id}/config')
    expect(described).toContain('GET /api/v1/telemetry/{id}/aggregated')
  })

  it('names the server under which the caller reached it', async () => {
    expect((await openapi('http://gateway.example:8443/openapi.json')).json.servers).toEqual([
      { url: 'http://gateway.example:8443' },
    ])
    expect((await openapi('http://other.example/openapi.json')).json.servers).toEqual([
      { url: 'http://other.example' },
    ])
  })

  it('is answered with 304 and no body to a client that has it', async () => {
    const etag = (await openapi()).headers.get('etag') ?? ''
    expect(etag).toMatch(/^"[0-9a-f]{32}"$/)
    const again = await openapi('/openapi.json', { 'If-None-Match': etag })
    expect([again.status, again.text, again.headers.get('etag')]).toEqual([304, '', etag])
    expect((await openapi('/openapi.json', { 'If-None-Match': '"old"' })).status).toBe(200)
  })

  it('may be cached for a minute', async () => {
    expect((await openapi()).headers.get('cache-control')).toBe('public, max-age=60')
  })
})
