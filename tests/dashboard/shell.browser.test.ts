import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWith } from '../support/backends.ts'
import { type Dashboard, expectAccessibleInBoth, needsChromium, startDashboard } from './browser.ts'

describeWith(needsChromium, 'the frame of the dashboard', () => {
  let dashboard: Dashboard
  beforeAll(async () => {
    dashboard = await startDashboard()
  })
  afterAll(() => dashboard.close())

  it('signs in with the admin token, keeps it for the tab only, and forgets it at the sign-out', async () => {
    const { page, problems, close } = await dashboard.open({
      signedIn: false,
      expectedFailures: ['/api/v1/admin/'],
    })
    await page.getByLabel('Admin token').fill('wrong-token-of-the-test-0000')
    await page.keyboard.press('Enter')
    // Directly below the field, not below its hint.
    await page.locator('input + p', { hasText: 'This token is not right.' }).waitFor()
    await expectAccessibleInBoth(page)
    await page.getByLabel('Admin token').fill(dashboard.adminToken)
    await page.getByRole('button', { name: 'Sign in' }).click()
    await page.getByRole('heading', { name: 'Overview', level: 1 }).waitFor()
    expect(page.url()).not.toContain(dashboard.adminToken)
    await page.reload()
    await page.getByRole('heading', { name: 'Overview', level: 1 }).waitFor()
    const other = await page.context().newPage()
    await other.goto(dashboard.server.httpUrl)
    await other.getByLabel('Admin token').waitFor()
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.getByText('You are signed out.').waitFor()
    const kept = await page.evaluate(() => JSON.stringify([{ ...sessionStorage }, { ...localStorage }]))
    expect([kept, problems]).toEqual(['[{},{}]', []])
    await close()
  })

  it('goes from page to page with the keyboard, and moves the focus to the head of each', async () => {
    const { page, problems, close } = await dashboard.open({ expectedFailures: ['/admin/'] })
    await page.getByRole('heading', { name: 'Overview', level: 1 }).waitFor()
    await page.keyboard.press('Tab')
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe('To the content')
    for (const name of ['Dead letters', 'Health', 'Settings']) {
      await page.getByRole('link', { name, exact: true }).press('Enter')
      const heading = page.getByRole('heading', { name, level: 1 })
      await heading.waitFor()
      expect(await heading.evaluate((element) => element === document.activeElement)).toBe(true)
      expect(await page.title()).toBe(`${name} · IoTFlow`)
      expect(await page.getByRole('link', { name, exact: true }).getAttribute('aria-current')).toBe('page')
    }
    expect(problems).toEqual([])
    await close()
  })
})
