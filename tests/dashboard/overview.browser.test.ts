import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWith } from '../support/backends.ts'
import { freePort } from '../support/free-port.ts'
import { type StandaloneServer, startStandaloneServer } from '../support/standalone.ts'
import { temporaryFolder } from '../support/temporary.ts'
import {
  type Dashboard,
  expectAccessibleInBoth,
  needsChromium,
  openPage,
  phone,
  startDashboard,
} from './browser.ts'

describeWith(needsChromium, 'the pages about the server', () => {
  let dashboard: Dashboard
  const secret = 'a-secret-of-the-test-that-nobody-sees'
  beforeAll(async () => {
    dashboard = await startDashboard({
      ENROLLMENT_KEY: secret,
      OPEN_REGISTRATION: 'true',
      RETENTION_DAYS: '90',
    })
  })
  afterAll(() => dashboard.close())

  const send = async (key: string, body: unknown) =>
    (await dashboard.server.request('POST', '/api/v1/telemetry', { key, body })).status

  it('show what happens as it happens, and account for every reading', async () => {
    const pump = await dashboard.server.register('pump')
    expect(await send(pump.key, { temperature: 21 })).toBe(201)
    const { page, problems, close } = await dashboard.open()
    await page.getByText('1 device, 1 online').waitFor()
    await page.getByText('Live', { exact: true }).waitFor()
    await page.getByText('Difference 0').waitFor()

    const valve = await dashboard.server.register('valve')
    expect(await send(valve.key, [{ temperature: 1 }, { temperature: 2 }])).toBe(201)
    expect(await send(valve.key, { temperature: null })).toBe(422)
    await page.getByRole('link', { name: 'valve' }).first().waitFor()
    const term = (name: string) => page.locator('.term', { hasText: name }).locator('dd')
    await expect.poll(() => term('received').textContent()).toBe('4')
    expect([await term('stored').textContent(), await term('rejected').textContent()]).toEqual(['3', '1'])
    await page.getByRole('img', { name: /Readings per second over the last hour\. The highest/ }).waitFor()
    await expectAccessibleInBoth(page)
    expect(problems).toEqual([])
    await close()
  })

  it('fit a phone, and are accessible there', async () => {
    const { page, problems, close } = await dashboard.open({ viewport: phone })
    const paths = ['/', '/alerts', '/alerts/rules', '/dead-letters', '/connect', '/health', '/settings']
    for (const path of [...paths, '/settings/webhooks']) {
      await page.goto(`${dashboard.server.httpUrl}/#${path}`)
      await page.locator('h1').waitFor()
      await page.waitForFunction(() => document.querySelector('.loading') === null)
      expect(await page.evaluate(() => document.documentElement.scrollWidth), path).toBe(phone.width)
    }
    await expectAccessibleInBoth(page)
    expect(problems).toEqual([])
    await close()
  })

  it('show the health with each check', async () => {
    const { page, problems, close } = await dashboard.open({ path: '/health' })
    await page.getByText('Everything works').waitFor()
    const checks = page.getByRole('region', { name: 'Checks' })
    for (const name of ['registry', 'telemetry']) await checks.getByRole('heading', { name }).waitFor()
    await page.getByText('agrees with the server').waitFor()
    await expectAccessibleInBoth(page)
    const sick = { status: 'unhealthy', version: '1', timestamp: new Date().toISOString() }
    await page.route('**/health*', (route) =>
      route.fulfill({
        status: 503,
        json: { ...sick, checks: { registry: { status: 'failed', message: 'cannot be used' } } },
      }),
    )
    await page.getByRole('button', { name: 'Check again' }).click()
    await page.getByText('Telemetry cannot be taken').waitFor()
    await page.getByText('cannot be used').waitFor()
    await expectAccessibleInBoth(page)
    expect(problems.filter((problem) => !problem.includes('503'))).toEqual([])
    await close()
  })

  it('show the settings in effect, but no secret', async () => {
    const { page, problems, close } = await dashboard.open({ path: '/settings' })
    const row = (name: string) => page.getByRole('row', { name: new RegExp(`^${name} `) })
    await row('ENROLLMENT_KEY').getByText('set, hidden').waitFor()
    expect(await row('RETENTION_DAYS').textContent()).toMatch(/90.*environment/)
    await expectAccessibleInBoth(page)
    await page.getByLabel('Search').fill('retention')
    await row('ENROLLMENT_KEY').waitFor({ state: 'detached' })
    await page.getByLabel('Search').fill('')
    await page.getByRole('checkbox', { name: 'Only those that are set' }).check()
    await row('STAGE').waitFor({ state: 'detached' })
    await row('RETENTION_DAYS').waitFor()
    const text = await page.content()
    expect([text.includes(secret), text.includes(dashboard.adminToken), problems]).toEqual([false, false, []])
    await close()
  })

  it('are polled where the server has no stream', async () => {
    const { page, problems, close } = await dashboard.open({ signedIn: false })
    await page.route('**/api/v1/admin/stream*', (route) => route.fulfill({ status: 501, json: {} }))
    await page.getByLabel('Admin token').fill(dashboard.adminToken)
    await page.keyboard.press('Enter')
    await page.getByText('Every 5 s').waitFor()
    const late = await dashboard.server.register('late')
    await page.getByRole('link', { name: late.name }).first().waitFor()
    expect(problems).toEqual([])
    await close()
  })

  it('open by a link that signs in once, and leaves no code in the address', async () => {
    const link = async () => {
      const { body } = await dashboard.server.request('POST', '/api/v1/admin/session-codes', {
        headers: dashboard.asAdmin,
      })
      return `${dashboard.server.httpUrl}/#code=${body.code}`
    }
    const { page, problems, close } = await dashboard.open({
      signedIn: false,
      expectedFailures: ['/api/v1/admin/session'],
    })
    const address = await link()
    await page.goto(address)
    await page.getByRole('heading', { name: 'Overview', level: 1 }).waitFor()
    expect(await page.evaluate(() => location.href)).toBe(`${dashboard.server.httpUrl}/#/`)
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.goto(address)
    await page.getByText('This link has been used').waitFor()
    await page.goto(await link())
    await page.getByRole('heading', { name: 'Overview', level: 1 }).waitFor()
    expect(problems).toEqual([])
    await close()
  })

  it('say that the connection is lost, and go on when the server is back', async () => {
    const folder = await temporaryFolder()
    const settings = {
      DATA_DIR: folder.path,
      PORT: String(await freePort()),
      ADMIN_TOKEN: dashboard.adminToken,
    }
    let server: StandaloneServer = await startStandaloneServer({ settings })
    const { key } = await server.register('before')
    await server.request('POST', '/api/v1/telemetry', { key, body: { temperature: 21 } })
    const { page, close } = await openPage(dashboard.browser, server.httpUrl, dashboard.adminToken)
    await page.getByText('Live', { exact: true }).waitFor()
    await server.stop()
    await page.getByText('No connection').waitFor()
    server = await startStandaloneServer({ settings })
    await page.getByText('Live', { exact: true }).waitFor()
    await server.register('after')
    await page.getByRole('link', { name: 'after' }).waitFor()
    // The hour before the start is there, too.
    await page.getByRole('img', { name: /Readings per second over the last hour\. The highest/ }).waitFor()
    await close()
    await server.stop()
    await folder.remove()
  })
})
