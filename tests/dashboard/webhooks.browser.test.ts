import { createHmac } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWith } from '../support/backends.ts'
import { type Receiver, startReceiver } from '../support/webhook-receiver.ts'
import { type Dashboard, expectAccessibleInBoth, needsChromium, phone, startDashboard } from './browser.ts'

/** An answer that would be a picture if it were taken as HTML. */
const hostile = '<img src=x onerror=alert(1)>'

describeWith(needsChromium, 'the webhooks', () => {
  let dashboard: Dashboard
  let receiver: Receiver
  beforeAll(async () => {
    receiver = await startReceiver()
    dashboard = await startDashboard({ WEBHOOK_PRIVATE_ADDRESSES: '127.0.0.1' })
  })
  afterAll(async () => {
    await dashboard.close()
    await receiver.close()
  })

  const create = async (page: Page, name: string) => {
    await page.getByRole('button', { name: 'New webhook' }).click()
    await page.getByLabel('Name', { exact: true }).fill(name)
    await page.getByLabel('Address').fill(receiver.url)
    await page.getByRole('checkbox', { name: 'Devices: all' }).check()
    await page.getByRole('button', { name: 'Make the webhook' }).click()
    await page.getByRole('heading', { name: `The secret of ${name}` }).waitFor()
    return (await page.getByTestId('webhook-secret').textContent()) ?? ''
  }
  const isSignedBy = (secret: string) => {
    const { id, headers, text } = receiver.received.at(-1) ?? { id: '', headers: {}, text: '' }
    const key = Buffer.from(secret.replace('whsec_', ''), 'base64')
    const signed = `${id}.${headers['webhook-timestamp']}.${text}`
    const signature = createHmac('sha256', key).update(signed).digest('base64')
    return String(headers['webhook-signature']).split(' ').includes(`v1,${signature}`)
  }

  it('are made with a secret that is shown once, called for a test, and get a new secret', async () => {
    const { page, problems, close } = await dashboard.open({
      path: '/settings/webhooks',
      expectedFailures: ['/admin/webhooks'],
    })
    await page.getByText('Nobody is told yet').waitFor()
    await page.getByRole('button', { name: 'New webhook' }).click()
    await page.getByLabel('Name', { exact: true }).fill('inside')
    await page.getByLabel('Address').fill('https://169.254.169.254/latest')
    await expectAccessibleInBoth(page)
    await page.getByRole('button', { name: 'Make the webhook' }).click()
    await page.locator('.field .error-text').getByText('private or reserved address').waitFor()
    await page.getByRole('button', { name: 'Cancel' }).click()

    const secret = await create(page, 'the receiver')
    await expectAccessibleInBoth(page)
    await page.getByRole('link', { name: 'Open its page' }).click()
    await page.getByRole('heading', { name: 'the receiver', level: 1 }).waitFor()
    await page.getByText('alert.*, device.*').waitFor()
    expect(await page.content()).not.toContain(secret)

    receiver.answer(() => (response: ServerResponse) => response.writeHead(200).end(hostile))
    await page.getByRole('button', { name: 'Send a test' }).click()
    await page.getByRole('heading', { name: 'The test call arrived' }).waitFor()
    await page.getByRole('dialog').getByText(hostile).waitFor()
    await expectAccessibleInBoth(page)
    expect([receiver.received.at(-1)?.body.type, isSignedBy(secret)]).toEqual(['webhook.test', true])
    await page.getByRole('button', { name: 'Done' }).click()

    receiver.answer(503)
    await page.getByRole('button', { name: 'Send a test' }).click()
    await page.getByRole('heading', { name: 'The test call failed' }).waitFor()
    await page.getByRole('button', { name: 'Done' }).click()

    receiver.answer(204)
    await page.getByRole('button', { name: 'New secret' }).click()
    await page.getByRole('dialog').getByRole('combobox').selectOption('0')
    await page.getByRole('button', { name: 'Make a new secret' }).click()
    const next = (await page.getByTestId('webhook-secret').textContent()) ?? ''
    await page.getByRole('button', { name: 'Done' }).click()
    await page.getByRole('button', { name: 'Send a test' }).click()
    await page.getByRole('heading', { name: 'The test call arrived' }).waitFor()
    expect([next === secret, isSignedBy(secret), isSignedBy(next)]).toEqual([false, false, true])
    expect(problems).toEqual([])
    await close()
  })

  it('show each delivery with its attempts, and send one again', async () => {
    const { page, problems, close } = await dashboard.open({
      path: '/settings/webhooks',
      expectedFailures: ['/admin/webhooks'],
    })
    receiver.answer(500)
    await create(page, 'the log')
    await page.getByRole('link', { name: 'Open its page' }).click()
    await page.getByText('It has been told nothing yet').waitFor()
    await dashboard.server.register('told-of')
    const log = page.getByRole('region', { name: 'Deliveries' })
    await log.getByRole('button', { name: 'device.registered' }).waitFor()
    await log.getByText(/500/).waitFor()
    await page.getByText(/^failed \d+ times?/).waitFor()
    await expectAccessibleInBoth(page)

    receiver.answer(204)
    await log.getByRole('button', { name: 'device.registered' }).click()
    await page.getByRole('heading', { name: /^Delivery \d+$/ }).waitFor()
    await page.getByRole('region', { name: 'Attempts' }).getByText('failed').first().waitFor()
    await page.getByText('The message').click()
    await page.getByText('"device_name": "told-of"').waitFor()
    await expectAccessibleInBoth(page)
    await page.getByRole('button', { name: 'Send again' }).click()
    await page.getByText('It is sent again.').waitFor()
    await page.keyboard.press('Escape')
    await log.getByRole('table').getByText('delivered').waitFor()
    await log.getByLabel('State of the deliveries').selectOption('failed')
    await log.getByText('None.').waitFor()
    expect(problems).toEqual([])
    await close()
  })

  it('are edited, turned off and deleted, and fit a phone', async () => {
    receiver.answer(204)
    const { page, problems, close } = await dashboard.open({
      path: '/settings/webhooks',
      viewport: phone,
      expectedFailures: ['/admin/webhooks'],
    })
    await create(page, 'short-lived')
    await page.getByRole('button', { name: 'Done' }).click()
    await page.getByRole('link', { name: 'short-lived' }).waitFor()
    const width = () => page.evaluate(() => document.documentElement.scrollWidth)
    expect(await width()).toBe(phone.width)
    await expectAccessibleInBoth(page)
    await page.getByRole('link', { name: 'short-lived' }).click()
    await page.getByRole('button', { name: 'Edit' }).click()
    await page.getByRole('checkbox', { name: 'Devices: all' }).uncheck()
    await page.getByRole('checkbox', { name: 'device.offline' }).check()
    await page.getByRole('button', { name: 'Save' }).click()
    await page.getByText('alert.*, device.offline').waitFor()
    expect(await width()).toBe(phone.width)
    await page.getByRole('button', { name: 'Turn off' }).click()
    await page.getByRole('region', { name: 'About' }).getByText('off', { exact: true }).waitFor()
    await page.getByRole('button', { name: 'Delete' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click()
    await page.getByRole('heading', { name: 'Webhooks', level: 1 }).waitFor()
    await page.getByText('short-lived is deleted.').waitFor()
    await page.getByRole('link', { name: 'short-lived' }).waitFor({ state: 'detached' })
    expect(problems).toEqual([])
    await close()
  })
})
