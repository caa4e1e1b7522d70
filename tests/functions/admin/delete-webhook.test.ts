import { describe, expect, it } from 'vitest'
import { itIsForAdminsOnly } from './refusals.ts'
import { unknownIds, withWebhooks } from './webhook-calls.ts'

const calls = withWebhooks()
const { create, remove, show, deliveries, sweep } = calls

describe('the end of a webhook', () => {
  itIsForAdminsOnly(
    () => calls.functions,
    async (options) => remove((await create()).json.webhook.id, options),
  )

  it('takes its deliveries with it, and nothing more is sent', async () => {
    const { id } = (await create()).json.webhook
    await calls.functions.register()
    expect((await remove(id)).json).toEqual({
      status: 'success',
      message: 'Webhook deleted successfully',
      webhook_id: id,
    })
    expect([(await show(id)).status, (await deliveries(id)).status, (await remove(id)).status]).toEqual([
      404, 404, 404,
    ])
    const { id: next } = (await create()).json.webhook
    expect(next).toBeGreaterThan(id)
    await sweep()
    expect((await deliveries(next)).json.deliveries).toEqual([])
  })

  it.each(unknownIds)('answers 404 for the id %s', async (id) => {
    expect((await remove(id)).status).toBe(404)
  })
})
