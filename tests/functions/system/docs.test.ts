import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'

let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions()
})
afterAll(() => functions.close())

const docs = (headers: Record<string, string> = {}) =>
  functions.call('system-docs', 'GET', '/docs', { headers })

describe('the page that documents the API', () => {
  it('is HTML for anybody', async () => {
    const answer = await docs()
    expect(answer.status).toBe(200)
    expect(answer.headers.get('content-type')).toBe('text/html; charset=utf-8')
    expect(answer.text).toMatch(/^<!doctype html>/i)
  })

  it('has no inline code, and loads only files that the server has', async () => {
    const { text, headers } = await docs()
    expect(text).not.toMatch(/<style|<script>|\s(?:on\w+|style)=/i)
    expect(headers.get('content-security-policy')).toBe(
      "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    )
    const names = [...text.matchAll(/(?:src|href)="\/docs\/([^"]+)"/g)].map(([, name]) => name)
    expect(names).toEqual(['viewer.css', 'viewer.js', 'start.js'])
    for (const name of names) {
      const { status } = await functions.call('system-docs-file', 'GET', `/docs/${name}`)
      expect(status, name).toBe(200)
    }
  })

  it('is answered with 304 and no body to a client that has it', async () => {
    const etag = (await docs()).headers.get('etag') ?? ''
    const again = await docs({ 'If-None-Match': etag })
    expect([etag.length, again.status, again.text]).toEqual([34, 304, ''])
  })
})
