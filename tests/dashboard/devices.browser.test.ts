import { readFileSync } from 'node:fs'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWith } from '../support/backends.ts'
import { type Dashboard, expectAccessibleInBoth, needsChromium, phone, startDashboard } from './browser.ts'

const pumps = 120

describeWith(needsChromium, 'the list of devices', () => {
  let dashboard: Dashboard
  beforeAll(async () => {
    dashboard = await startDashboard()
    const rows = Array.from(
      { length: pumps },
      (_, n) => `pump-${String(n + 1).padStart(3, '0')},pump,Hall ${n % 3}`,
    )
    await dashboard.server.request('POST', '/api/v1/admin/devices/import', {
      headers: { ...dashboard.asAdmin, 'Content-Type': 'text/csv' },
      body: ['name,device_type,location', ...rows, ''].join('\n'),
    })
  })
  afterAll(() => dashboard.close())

  const open = async (path = '/devices', options = {}) => {
    const opened = await dashboard.open({ path, ...options })
    await opened.page.getByRole('heading', { name: 'Devices', level: 1 }).waitFor()
    return opened
  }
  const names = (page: Page) => page.locator('tbody a').allTextContents()
  const download = async (page: Page, button: string) => {
    const [file] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: button }).click(),
    ])
    return readFileSync((await file.path()) as string, 'utf8')
  }
  const statusOf = async (id: number) => {
    const { body } = await dashboard.server.request('GET', `/api/v1/admin/devices/${id}`, {
      headers: dashboard.asAdmin,
    })
    return body.device?.status
  }

  it('comes in pages, sorted and filtered by the server, and the address keeps what was chosen', async () => {
    const { page, problems, close } = await open()
    await page.getByText(`1–50 of ${pumps}`).waitFor()
    await page.getByRole('button', { name: 'Next' }).click()
    await page.getByText(`51–100 of ${pumps}`).waitFor()
    // The rows of the page before stay until the next ones are there.
    await expect.poll(async () => (await names(page))[0]).toBe('pump-051')
    await page.getByRole('button', { name: 'Previous' }).click()
    await page.getByText(`1–50 of ${pumps}`).waitFor()
    await page.getByRole('button', { name: 'Name' }).click()
    await page.getByRole('button', { name: 'Name' }).click()
    await page.getByRole('link', { name: `pump-${pumps}` }).waitFor()
    expect((await names(page))[0]).toBe(`pump-${pumps}`)
    await page.getByLabel('Search').fill('hall 1')
    await page.getByText(`40 devices fit the filters`).waitFor()
    await page.reload()
    await page.getByText(`40 devices fit the filters`).waitFor()
    expect((await names(page))[0]).toBe('pump-119')
    await page.getByLabel('Search').fill('no such thing')
    await page.getByText('No device fits').waitFor()
    await page.getByRole('button', { name: 'Clear the filters' }).click()
    await page.getByText(`1–50 of ${pumps}`).waitFor()
    expect(problems).toEqual([])
    await close()
  })

  it('registers a device on the page that connects one', async () => {
    const { page, problems, close } = await open()
    await page.getByRole('link', { name: 'Connect a device' }).click()
    await page.getByLabel('Name', { exact: true }).fill('a new pump')
    await page.getByLabel('Type', { exact: true }).fill('pump')
    await page.getByText('More', { exact: true }).click()
    await page.getByLabel('Location').fill('Hall 9')
    await expectAccessibleInBoth(page)
    await page.getByRole('button', { name: 'Register the device' }).click()
    const key = (await page.locator('.key code').textContent()) ?? ''
    await page.getByRole('tab', { name: 'curl' }).waitFor()
    const status = await dashboard.server.request('GET', '/api/v1/devices/status', { key })
    expect(status.body.device).toMatchObject({ name: 'a new pump', location: 'Hall 9' })
    expect(problems).toEqual([])
    await close()
  })

  it('imports a file after a check that tells what is wrong in it, and hands the keys over once', async () => {
    const { page, problems, close } = await open()
    await page.getByRole('button', { name: 'Import' }).click()
    await page.getByLabel('CSV with a header, or NDJSON').setInputFiles({
      name: 'fleet.csv',
      mimeType: 'text/csv',
      buffer: Buffer.from('name,device_type\nimported-1,fan\npump-002,fan\nimported-2,\n'),
    })
    await page.getByRole('button', { name: 'Check the file' }).click()
    await page.getByText('1 would be registered, 0 would be changed, 2 refused.').waitFor()
    expect(await page.getByRole('dialog').locator('tbody tr').allTextContents()).toEqual([
      expect.stringMatching(/^3pump-002/),
      expect.stringMatching(/^4imported-2/),
    ])
    await page.getByRole('button', { name: 'Import 1' }).click()
    await page.getByText('1 were registered, 0 were changed, 2 refused.').waitFor()
    const [, row = ''] = (await download(page, 'Save the key')).split('\r\n')
    const [, name, key = ''] = row.split(',')
    expect(name).toBe('imported-1')
    expect((await dashboard.server.request('POST', '/api/v1/devices/heartbeat', { key })).status).toBe(200)
    await page.getByRole('button', { name: 'Close', exact: true }).last().click()
    await page.getByRole('dialog').waitFor({ state: 'detached' })
    expect(problems).toEqual([])
    await close()
  })

  it('warns before a dialog with unsaved keys closes', async () => {
    const { page, close } = await open()
    await page.getByRole('button', { name: 'Import' }).click()
    await page.getByLabel('CSV with a header, or NDJSON').setInputFiles({
      name: 'one.ndjson',
      mimeType: 'application/x-ndjson',
      buffer: Buffer.from('{"name":"imported-3","device_type":"fan"}\n'),
    })
    await page.getByRole('button', { name: 'Check the file' }).click()
    await page.getByRole('button', { name: 'Import 1' }).click()
    await page.getByRole('button', { name: 'Save the key' }).waitFor()
    await page.keyboard.press('Escape')
    await page.getByRole('heading', { name: 'Close without the keys?' }).waitFor()
    await page.getByRole('button', { name: 'Cancel' }).click()
    await page.getByRole('button', { name: 'Save the key' }).waitFor()
    await close()
  })

  it('changes a selection at once, tells the progress, and lists what failed', async () => {
    const { page, problems, close } = await open('/devices?q=pump-02', {
      expectedFailures: ['/admin/devices/'],
    })
    await page.getByText('1–10 of 10').waitFor()
    await page.getByLabel('Select all on this page').check()
    await page.getByText('10 devices selected').waitFor()
    await page.getByLabel('Select pump-029').uncheck()
    await page.getByText('9 devices selected').waitFor()
    await expectAccessibleInBoth(page)
    await page.getByRole('button', { name: 'Set status' }).click()
    await page.getByRole('dialog').getByLabel('Status').selectOption('inactive')
    await page.getByRole('button', { name: 'Set the status: 9 devices' }).click()
    await page.getByText('Done: 9 of 9').waitFor()
    await expectAccessibleInBoth(page)
    await page.getByRole('dialog').getByRole('button', { name: 'Close' }).last().click()
    expect([await statusOf(20), await statusOf(28), await statusOf(29)]).toEqual([
      'inactive',
      'inactive',
      'active',
    ])
    // One of them goes away behind the back of the page.
    await dashboard.server.request('DELETE', '/api/v1/admin/devices/21', { headers: dashboard.asAdmin })
    await page.getByRole('button', { name: 'Delete' }).click()
    const act = page.getByRole('button', { name: 'Delete: 9 devices' })
    expect(await act.isDisabled()).toBe(true)
    await page.getByLabel('Type 9 to go on').fill('9')
    await act.click()
    await page.getByText('Done: 8 of 9').waitFor()
    await page.getByText('pump-021').last().waitFor()
    expect(await download(page, 'Save the list')).toContain('21,pump-021,NOT_FOUND')
    await page.getByRole('dialog').getByRole('button', { name: 'Close' }).last().click()
    await page.getByText('1–1 of 1').waitFor()
    expect(await statusOf(22)).toBeUndefined()
    expect(problems).toEqual([])
    await close()
  })

  it('selects all devices that fit, on all pages', async () => {
    const { page, close } = await open('/devices?q=hall+2')
    await page.getByLabel('Select all on this page').check()
    const all = page.getByRole('button', { name: /^Select all \d/ })
    if (await all.isVisible()) await all.click()
    const total = (await page.getByText(/^\d+–\d+ of/).textContent())?.split(' ').at(-1)
    await page.getByText(`${total} devices selected`).waitFor()
    await close()
  })

  it('shows labels, edits them, and finds devices by them', async () => {
    const { page, problems, close } = await open('/devices', { expectedFailures: ['selector='] })
    await page.getByRole('link', { name: 'Connect a device' }).click()
    await page.getByLabel('Name', { exact: true }).fill('labelled')
    await page.getByLabel('Type', { exact: true }).fill('fan')
    await page.getByText('More', { exact: true }).click()
    await page.getByLabel('Labels').fill('site=north\na b')
    await page.getByText('“a b” is no label').waitFor()
    expect(await page.getByRole('button', { name: 'Register the device' }).isDisabled()).toBe(true)
    await page.getByLabel('Labels').fill('site=north\nfloor=2')
    await page.getByRole('button', { name: 'Register the device' }).click()
    await page.locator('.key code').waitFor()
    const { body } = await dashboard.server.request('GET', '/api/v1/admin/devices?q=labelled', {
      headers: dashboard.asAdmin,
    })
    await page.goto(`${page.url().split('#')[0]}#/devices/${body.devices[0].id}`)
    const dialog = page.getByRole('dialog')
    await page.getByRole('heading', { name: 'labelled', level: 1 }).waitFor()
    await page.getByRole('button', { name: 'Edit' }).click()
    expect(await dialog.getByLabel('Labels').inputValue()).toBe('floor=2\nsite=north')
    await dialog.getByLabel('Labels').fill('site=south\nspare')
    await page.getByRole('button', { name: 'Save' }).click()
    await page.getByText('Saved.').waitFor()
    await page.getByRole('link', { name: 'site=south' }).click()
    await page.getByText('1 device fit the filters').waitFor()
    expect(await names(page)).toEqual(['labelled', 'site=south', 'spare'])
    expect(await page.getByRole('search').getByLabel('Labels').inputValue()).toBe('site=south')
    await expectAccessibleInBoth(page)

    await page.getByRole('search').getByLabel('Labels').fill('floor')
    await page.getByText('No device fits').waitFor()
    await page.getByRole('search').getByLabel('Labels').fill('!spare')
    await page.getByText(/^1–50 of/).waitFor()
    await page.getByRole('search').getByLabel('Labels').fill('spare in (')
    await page.getByRole('search').locator('.error-text').waitFor()
    await page.getByRole('search').getByLabel('Labels').fill('spare=,site notin (north)')
    await page.getByText('1–1 of 1').waitFor()
    await page.getByLabel('Select all on this page').check()
    await page.getByText('1 device selected').waitFor()
    expect(problems).toEqual([])
    await close()
  })

  it('has nothing that a screen reader stumbles over, and fits a phone', async () => {
    const { page, close } = await open()
    await page.getByText(/^1–50/).waitFor()
    await expectAccessibleInBoth(page)
    await close()
    const small = await open('/devices', { viewport: phone })
    await small.page.getByText(/^1–50/).waitFor()
    expect(await small.page.evaluate(() => document.documentElement.scrollWidth)).toBe(phone.width)
    await small.close()
  })
})
