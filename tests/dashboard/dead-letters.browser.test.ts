import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWith } from '../support/backends.ts'
import type { Device } from '../support/standalone.ts'
import {
  type Dashboard,
  expectAccessible,
  expectAccessibleInBoth,
  needsChromium,
  phone,
  startDashboard,
} from './browser.ts'

describeWith(needsChromium, 'the dead letters', () => {
  let dashboard: Dashboard
  let device: Device
  let other: Device
  beforeAll(async () => {
    dashboard = await startDashboard()
    device = await dashboard.server.register('pump')
    other = await dashboard.server.register('valve')
  })
  afterAll(() => dashboard.close())

  const total = async () => {
    const { body } = await dashboard.server.request('GET', '/api/v1/admin/dead-letters', {
      headers: dashboard.asAdmin,
    })
    return body.total as number
  }

  it('are decoded as text and as hex, with their reason', async () => {
    const { page, problems, close } = await dashboard.open({ path: '/dead-letters' })
    await page.getByText('No dead letters').waitFor()
    const id = await dashboard.server.deadLetter(device.id, '{"temperature":21}')
    await page.reload()
    await page.getByRole('button', { name: 'Put here by a test.' }).click()
    const dialog = page.getByRole('dialog', { name: `Dead letter ${id}` })
    await dialog.getByText('"temperature": 21').waitFor()
    await expectAccessibleInBoth(page)
    await dialog.getByRole('tab', { name: 'Text' }).press('ArrowRight')
    await dialog.getByText('7b 22 74 65 6d').waitFor()
    expect(await dialog.getByRole('tab', { name: 'Hex' }).getAttribute('aria-selected')).toBe('true')
    await page.keyboard.press('Escape')
    await dialog.waitFor({ state: 'detached' })
    const focused = await page.evaluate(() => document.activeElement?.textContent)
    expect([focused, problems]).toEqual(['Put here by a test.', []])
    await close()
  })

  it('are replayed and discarded, one and many, and only what is agreed to', async () => {
    const { page, problems, close } = await dashboard.open({
      path: '/dead-letters',
      expectedFailures: ['/replay'],
    })
    for (const payload of ['{"a":1}', '{"a":2}', 'broken'])
      await dashboard.server.deadLetter(device.id, payload)
    await page.reload()
    await page.getByRole('checkbox', { name: 'Select all on this page' }).check()
    const before = await total()
    await page.getByRole('button', { name: `Replay ${before}` }).click()
    await page.getByText(`Replayed ${before - 1} dead letters.`).waitFor()
    await page.getByText('1 dead letter could not be').waitFor()
    expect(await total()).toBe(1)
    const { body } = await dashboard.server.request('GET', `/api/v1/telemetry/${device.id}/latest`)
    expect(body.latest_data.a).toBeTypeOf('number')

    await page.getByRole('checkbox', { name: 'Select all on this page' }).check()
    await page.getByRole('button', { name: 'Discard 1' }).click()
    await expectAccessible(page)
    await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click()
    expect(await total()).toBe(1)
    await page.getByRole('button', { name: 'Discard 1' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Discard' }).click()
    await page.getByText('Discarded 1 dead letter.').waitFor()
    await page.getByText('No dead letters').waitFor()
    expect([await total(), problems]).toEqual([0, []])
    await close()
  })

  it('are shown in pages, and of one device', async () => {
    for (let n = 0; n < 55; n += 1) await dashboard.server.deadLetter(device.id, `${n}`)
    await dashboard.server.deadLetter(other.id, 'of the other')
    const { page, problems, close } = await dashboard.open({ path: '/dead-letters', viewport: phone })
    await page.getByText('1–50 of 56').waitFor()
    await expectAccessible(page)
    await page.getByRole('button', { name: 'Next' }).click()
    await page.getByText('51–56 of 56').waitFor()
    await page.getByRole('button', { name: 'Previous' }).click()
    await page.getByText('1–50 of 56').waitFor()
    await page.getByLabel('Device id').fill(String(other.id))
    await page.getByText('1–1 of 1').waitFor()
    expect(page.url()).toContain(`#/dead-letters?device_id=${other.id}`)
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(phone.width)
    expect(problems).toEqual([])
    await close()
  })
})
