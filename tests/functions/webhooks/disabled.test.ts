import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Answer, openFunctions, type TestFunctions } from '../../support/functions.ts'

let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions()
})
afterAll(() => functions.close())

const address = '/api/v1/admin/webhooks'
const outcome = ({ status, json }: Answer) => [status, json.error?.code]

it('says that webhooks are off where a call needs the key that is missing', async () => {
  const body = { name: 'x', url: 'https://example.com', events: ['*'] }
  const off = [503, 'WEBHOOKS_DISABLED']
  const created = await functions.call('admin-create-webhook', 'POST', address, { admin: true, body })
  expect(outcome(created)).toEqual(off)
  expect(created.json.error.message).toContain('WEBHOOK_SIGNING_KEY')
  const rotated = await functions.call('admin-rotate-webhook-secret', 'POST', `${address}/1/rotate-secret`, {
    admin: true,
  })
  expect(outcome(rotated)).toEqual(off)
  expect((await functions.call('admin-webhooks', 'GET', address, { admin: true })).json.webhooks).toEqual([])
  await functions.register()
  await functions.invoke('webhooks-sweep', {})
  await functions.invoke('webhooks-deliver', { Records: [] })
})
