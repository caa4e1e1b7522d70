import type { Page } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWith } from '../support/backends.ts'
import type { Device } from '../support/standalone.ts'
import { type Dashboard, expectAccessibleInBoth, needsChromium, phone, startDashboard } from './browser.ts'

describeWith(needsChromium, 'the alerts', () => {
  let dashboard: Dashboard
  let boilers: Device[]
  let pump: Device
  beforeAll(async () => {
    dashboard = await startDashboard()
    boilers = [await dashboard.server.register('boiler-1'), await dashboard.server.register('boiler-2')]
    pump = await dashboard.server.register('pump')
    for (const { id } of boilers) await admin('PUT', `devices/${id}`, { labels: { site: 'north' } })
  })
  afterAll(() => dashboard.close())

  const admin = async (method: string, path: string, body?: unknown) => {
    const answer = await dashboard.server.request(method, `/api/v1/admin/${path}`, {
      headers: dashboard.asAdmin,
      ...(body === undefined ? {} : { body }),
    })
    expect(answer.status, answer.text).toBeLessThan(300)
    return answer.body
  }
  const send = async ({ key }: Device, body: unknown) => {
    const { status } = await dashboard.server.request('POST', '/api/v1/devices/telemetry', { key, body })
    expect(status).toBe(201)
  }
  const group = (page: Page, name: string) => page.getByRole('region', { name, exact: true })
  const width = (page: Page) => page.evaluate(() => document.documentElement.scrollWidth)

  it('open by a rule that a form has made, are acknowledged, and are cleared', async () => {
    const { page, problems, close } = await dashboard.open({ path: '/alerts' })
    await page.getByText('Nothing is watched yet').waitFor()
    await page.getByRole('link', { name: 'Make a rule' }).click()
    const form = page.getByRole('dialog')
    await form.getByLabel('Name').fill('Too warm')
    await form.getByLabel('Severity').selectOption('critical')
    const words = form.getByRole('region', { name: 'The rule in words' })
    await words.getByText('Fill in the fields').waitFor()
    await form.getByRole('textbox', { name: 'Field' }).fill('temperature')
    await form.getByRole('textbox', { name: 'Value' }).fill('30')
    await form.getByLabel('Labels').fill('site=north')
    await words.getByText('Critical when temperature > 30 for 5 minutes on site=north').waitFor()
    await form.getByRole('spinbutton', { name: 'For at least' }).fill('0')
    await form.getByText('When it clears').click()
    await form.getByLabel('Clears at or below').fill('28')
    await words.getByText(/^Critical when temperature > 30 on site=north, until temperature ≤ 28$/).waitFor()
    await expectAccessibleInBoth(page)
    await form.getByRole('button', { name: 'Make the rule' }).click()
    await page
      .getByRole('row', { name: /^Too warm/ })
      .getByText('site=north')
      .waitFor()

    await page.getByRole('link', { name: 'Alerts', exact: true }).first().click()
    await page.getByText('No open alert').waitFor()
    await send(pump, { temperature: 99 })
    for (const boiler of boilers) await send(boiler, { temperature: 31.5 })
    const open = group(page, 'Open')
    for (const { name } of boilers) await open.getByRole('row', { name: new RegExp(name) }).waitFor()
    expect(await open.locator('tbody tr').count()).toBe(2)
    await open.getByRole('cell', { name: '31.5' }).first().waitFor()
    await page.getByText('Open: 2 critical.').waitFor()
    await expectAccessibleInBoth(page)

    await page.getByRole('checkbox', { name: 'Select Too warm on boiler-2' }).check()
    await page.getByRole('button', { name: 'Acknowledge 1 alert' }).click()
    await page.getByRole('dialog').getByLabel('Note').fill('The fan is on its way')
    await expectAccessibleInBoth(page)
    await page.getByRole('dialog').getByRole('button', { name: 'Acknowledge' }).click()
    await page.getByText('Acknowledged 1 alert.').waitFor()
    const known = group(page, 'Acknowledged')
    await known.getByText('The fan is on its way').waitFor()

    // Between the two values it stays open; at the lower one it is over.
    await send(boilers[1] as Device, { temperature: 29 })
    await known.getByRole('cell', { name: '29' }).waitFor()
    await send(boilers[1] as Device, { temperature: 28 })
    const cleared = group(page, 'Cleared').getByRole('row', { name: /boiler-2/ })
    await cleared.waitFor()
    await cleared.getByRole('button', { name: 'Too warm' }).click()
    const history = page.getByRole('region', { name: 'History' })
    await history.getByText('The fan is on its way').waitFor()
    expect(await history.getByRole('listitem').locator('strong').allTextContents()).toEqual([
      'Opened',
      'Acknowledged',
      'Cleared',
    ])
    await page.getByRole('dialog').getByLabel('Note').fill('It was the fan.')
    await page.getByRole('button', { name: 'Add the note' }).click()
    await history.getByText('It was the fan.').waitFor()
    await expectAccessibleInBoth(page)
    expect(problems).toEqual([])
    await close()
  })

  it('are on the overview and on the page of their device, and lead from one to the other', async () => {
    const [boiler] = boilers as [Device]
    const { page, problems, close } = await dashboard.open()
    const card = page.getByRole('region', { name: 'Open alerts' })
    await card.getByText('temperature 31.5').waitFor()
    await expectAccessibleInBoth(page)
    await card.getByRole('link', { name: boiler.name }).click()
    await page.getByRole('region', { name: 'Alerts' }).getByRole('link', { name: 'Too warm' }).click()
    await page.getByRole('dialog', { name: 'Too warm on boiler-1' }).waitFor()
    await page.getByRole('dialog').getByRole('link', { name: 'See the chart' }).click()
    await page.getByRole('heading', { name: boiler.name, level: 1 }).waitFor()
    await page.getByRole('link', { name: 'New rule' }).click()
    await page
      .getByRole('dialog')
      .getByText(/^Fill in/)
      .waitFor()
    expect(await page.getByRole('dialog').getByLabel('Device id').inputValue()).toBe(String(boiler.id))
    expect(problems).toEqual([])
    await close()
  })

  it('are filtered by state, severity, rule and device', async () => {
    await admin('POST', 'alert-rules', {
      name: 'Too dry',
      severity: 'info',
      condition: { kind: 'threshold', field: 'humidity', op: '<', value: 20 },
    })
    await send(pump, { humidity: 5 })
    const { page, problems, close } = await dashboard.open({ path: '/alerts' })
    const rows = async () => (await page.locator('tbody tr').allTextContents()).length
    await group(page, 'Cleared').waitFor()
    await group(page, 'Open')
      .getByRole('row', { name: /Too dry/ })
      .waitFor()
    await page.getByLabel('Severity').selectOption('info')
    await group(page, 'Cleared').waitFor({ state: 'detached' })
    await expect.poll(rows).toBe(1)
    await page.getByLabel('Severity').selectOption('')
    await page.getByLabel('Rule').selectOption('Too warm')
    await group(page, 'Cleared').waitFor()
    await page.getByLabel('State').selectOption('cleared')
    await group(page, 'Open').waitFor({ state: 'detached' })
    await expect.poll(rows).toBe(1)
    await page.getByLabel('Device id').fill(String(pump.id))
    await page.getByText('No such alert').waitFor()
    await page.reload()
    await page.getByText('No such alert').waitFor()
    await page.getByLabel('Rule').selectOption('')
    await page.getByLabel('State').selectOption('open')
    await group(page, 'Open')
      .getByRole('row', { name: /Too dry/ })
      .waitFor()
    await expect.poll(rows).toBe(1)
    expect(problems).toEqual([])
    await close()
  })

  it('have rules that are edited, turned off and deleted, and what the server refuses is told', async () => {
    const { page, problems, close } = await dashboard.open({
      path: '/alerts/rules',
      expectedFailures: ['/admin/alert-rules'],
    })
    const row = page.getByRole('row', { name: /^Too warm/ })
    await row.getByRole('link', { name: '1' }).waitFor()
    await expectAccessibleInBoth(page)
    await row.getByRole('button', { name: 'Edit Too warm' }).click()
    const form = page.getByRole('dialog')
    expect(await form.getByLabel('Clears at or below').inputValue()).toBe('28')
    await form.getByText('ends its open alerts').waitFor()
    await form.getByLabel('Labels').fill('site in (')
    await form.getByRole('button', { name: 'Save' }).click()
    await form.locator('.field .error-text').waitFor()
    await form.getByLabel('Labels').fill('site in (north,south)')
    await form.getByRole('button', { name: 'Save' }).click()
    await row.getByText('site in (north,south)').waitFor()
    await row.getByRole('cell', { name: '0', exact: true }).waitFor()
    await row.getByRole('button', { name: 'Turn off' }).click()
    await row.getByText('off', { exact: true }).waitFor()
    await row.getByRole('button', { name: 'Turn on' }).click()
    await row.getByText('on', { exact: true }).waitFor()
    await row.getByRole('button', { name: 'Delete Too warm' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click()
    await row.getByRole('button', { name: 'Delete Too warm' }).click()
    await expectAccessibleInBoth(page)
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click()
    await row.waitFor({ state: 'detached' })
    expect(problems).toEqual([])
    await close()
  })

  it('are made for each kind of condition by keyboard, and fit a phone', async () => {
    const { page, problems, close } = await dashboard.open({ path: '/alerts/rules', viewport: phone })
    await page.getByRole('button', { name: 'New rule' }).press('Enter')
    const form = page.getByRole('dialog')
    await form.waitFor()
    await page.keyboard.type('Silent')
    expect(await form.getByLabel('Name').inputValue()).toBe('Silent')
    await form.getByRole('radio', { name: 'A value' }).press('ArrowDown')
    expect(await form.getByRole('radio', { name: 'No readings' }).isChecked()).toBe(true)
    await form.getByText('Warning when no reading comes for 5 minutes on every device').waitFor()
    await form.getByRole('radio', { name: 'Offline' }).check()
    await form.getByText('Warning when offline for 5 minutes on every device').waitFor()
    await form.getByRole('radio', { name: 'Dead letters' }).check()
    await form.getByLabel('At least').fill('3')
    await form.getByText('Warning when 3 or more dead letters come within 5 minutes').waitFor()
    await expectAccessibleInBoth(page)
    await form.getByRole('button', { name: 'Make the rule' }).press('Enter')
    await page.getByRole('button', { name: 'Silent', exact: true }).waitFor()
    expect(await width(page)).toBe(phone.width)
    await page.getByRole('link', { name: 'Alerts', exact: true }).first().click()
    await group(page, 'Cleared').waitFor()
    expect(await width(page)).toBe(phone.width)
    await expectAccessibleInBoth(page)
    expect(problems).toEqual([])
    await close()
  })
})
