import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { dashboardAssets } from '#dashboard-files'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'

let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions()
})
afterAll(() => functions.close())

const page = (headers: Record<string, string> = {}) =>
  functions.call('system-dashboard', 'GET', '/', { headers })

describe('the page of the dashboard', () => {
  it('is HTML that loads only its own script, style and icon, by their hashes', async () => {
    const { status, headers, text } = await page()
    expect([status, headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8'])
    const loaded = [...text.matchAll(/<(?:link|script)[^>]*(?:src|href)="([^"]+)"/g)].map(([, name]) => name)
    expect(loaded).toHaveLength(3)
    for (const name of loaded) expect(Object.keys(dashboardAssets)).toContain(name?.replace(/^assets\//, ''))
    expect(text).not.toMatch(/<script(?![^>]*src=)|<style|\sstyle=|\son\w+=|https?:/)
  })

  it('allows nothing but its own files', async () => {
    const policy = (await page()).headers.get('content-security-policy') ?? ''
    expect(policy.split('; ').sort()).toEqual([
      "base-uri 'none'",
      "connect-src 'self'",
      "default-src 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
      "img-src 'self' data:",
      "script-src 'self'",
      "style-src 'self'",
    ])
  })

  it('is asked for again each time, and answered with 304 while it is the same', async () => {
    const { headers } = await page()
    expect(headers.get('cache-control')).toBe('no-cache')
    const again = await page({ 'If-None-Match': headers.get('etag') ?? '' })
    expect([again.status, again.text]).toEqual([304, ''])
  })
})
