/** The dashboard through one door: the suites of the doors check it with their own servers. */
import { expect } from 'vitest'
import { launchChromium, openPage } from './browser.ts'

/** Opens each page as an operator. Nothing may fail in the browser, and the overview must be current. */
export async function expectDashboard(httpUrl: string, adminToken: string): Promise<void> {
  const browser = await launchChromium()
  try {
    const { page, problems } = await openPage(browser, httpUrl, adminToken)
    await page.getByText('Difference 0').waitFor()
    await page.getByText(/^(Live|Every 5 s)$/).waitFor()
    for (const name of ['Alerts', 'Dead letters', 'Health', 'Settings', 'Webhooks']) {
      await page.getByRole('link', { name, exact: false }).first().click()
      await page.getByRole('heading', { name, level: 1 }).waitFor()
      await page.locator('.loading').first().waitFor({ state: 'detached' })
      expect(await page.getByRole('alert').count(), name).toBe(0)
    }
    expect(problems).toEqual([])
  } finally {
    await browser.close()
  }
}
