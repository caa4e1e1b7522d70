/** The page at /docs in a real browser. */
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWith } from '../support/backends.ts'
import { type StandaloneServer, startStandaloneServer } from '../support/standalone.ts'
import { launchChromium, needsChromium } from './browser.ts'

describeWith(needsChromium, 'the page that documents the API', () => {
  let server: StandaloneServer
  let browser: Browser
  beforeAll(async () => {
    server = await startStandaloneServer()
    browser = await launchChromium()
  })
  afterAll(async () => {
    await browser?.close()
    await server?.stop()
  })

  it('shows every operation, tries one out, loads nothing from elsewhere, and violates no policy', async () => {
    const { body: document } = await server.request('GET', '/openapi.json')
    const operations = Object.values(document.paths as object).flatMap((path: object) => Object.keys(path))
    const page = await browser.newPage({ colorScheme: 'dark' })
    const problems: string[] = []
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') problems.push(message.text())
    })
    page.on('pageerror', (error) => problems.push(String(error)))
    page.on('request', (request) => {
      if (!/^(data|blob):/.test(request.url()) && !request.url().startsWith(server.httpUrl))
        problems.push(`left the server: ${request.url()}`)
    })
    await page.goto(`${server.httpUrl}/docs`)
    await page.locator('.opblock').first().waitFor({ timeout: 60_000 })
    expect(await page.locator('.opblock').count()).toBe(operations.length)
    expect(await page.locator('html').getAttribute('class')).toContain('dark-mode')
    const register = page.locator('#operations-Devices-devices-register')
    await register.locator('.opblock-summary-control').click()
    await register.getByRole('button', { name: 'Try it out' }).click()
    await register.getByRole('button', { name: 'Execute' }).click()
    await register
      .locator('.live-responses-table')
      .getByText('201', { exact: true })
      .waitFor({ timeout: 60_000 })
    expect(await register.locator('.live-responses-table').textContent()).toContain('"api_key"')
    expect(await register.locator('.curl').textContent()).toContain(
      `${server.httpUrl}/api/v1/devices/register`,
    )
    expect(problems).toEqual([])
    expect((await server.stored()).devices).toBe(1)
    await page.close()
  })

  it('says so when the document does not come', async () => {
    const page = await browser.newPage()
    await page.route('**/openapi.json', (route) => route.abort())
    await page.goto(`${server.httpUrl}/docs`)
    await page.getByText('The API cannot be shown').waitFor()
    await page.close()
  })
})
