import { describe, expect, it } from 'vitest'
import { itIsForAdminsOnly } from './refusals.ts'
import { unknownIds, withWebhooks } from './webhook-calls.ts'

const calls = withWebhooks()
const { create, update, deliveries, sweep } = calls

describe('a change of a webhook', () => {
  itIsForAdminsOnly(
    () => calls.functions,
    async (options) => update((await create()).json.webhook.id, { name: 'changed' }, options),
  )

  it('keeps what is not sent', async () => {
    const { webhook } = (await create({ events: ['alert.*'] })).json
    const { json } = await update(webhook.id, { name: 'another', events: ['device.*'] })
    expect(json).toEqual({
      status: 'success',
      message: 'Webhook updated successfully',
      webhook: { ...webhook, name: 'another', events: ['device.*'], updated_at: expect.any(String) },
    })
  })

  it('that disables it cancels what waits, and what happens meanwhile is not told later', async () => {
    const { id } = (await create({ name: 'off', events: ['device.registered'] })).json.webhook
    await calls.functions.register()
    expect((await update(id, { enabled: false })).json.webhook).toMatchObject({ enabled: false, pending: 0 })
    await calls.functions.register()
    expect((await update(id, { enabled: true })).json.webhook).toMatchObject({ enabled: true, pending: 0 })
    const { id: device } = await calls.functions.register()
    await sweep()
    const { json } = await deliveries(id)
    expect(json.deliveries.map((one: { status: string }) => one.status)).toEqual(['delivered', 'cancelled'])
    const own = calls.receiver.received.filter(({ id }) => id === json.deliveries[0].event_id)
    expect(own.map(({ body }) => body.data.device_id)).toContain(device)
  })

  it.each([
    [{ url: 'https://10.0.0.1' }, 'url'],
    [{ url: 'x' }, 'url'],
    [{ events: [] }, 'events'],
    [{ enabled: null }, 'enabled'],
    [[], ''],
  ])('is refused by 422 for %j', async (body, path) => {
    const { id } = (await create()).json.webhook
    const answer = await update(id, body)
    expect([answer.status, answer.json.error.details[0].path]).toEqual([422, path])
  })

  it.each(unknownIds)('answers 404 for the id %s', async (id) => {
    expect((await update(id, { name: 'x' })).status).toBe(404)
  })
})
