import { describe, expect, it } from 'vitest'
import { itIsForAdminsOnly } from './refusals.ts'
import { unknownIds, withWebhooks } from './webhook-calls.ts'

const calls = withWebhooks()
const { create, show } = calls

describe('a webhook', () => {
  itIsForAdminsOnly(
    () => calls.functions,
    async (options) => show((await create()).json.webhook.id, options),
  )

  it('is shown as it was made, with what waits', async () => {
    const { webhook } = (await create({ name: 'shown' })).json
    expect((await show(webhook.id)).json).toEqual({ status: 'success', webhook })
    await calls.functions.register()
    await calls.expand()
    expect((await show(webhook.id)).json.webhook).toMatchObject({ pending: 1, failures: 0 })
  })

  it.each(unknownIds)('answers 404 for the id %s', async (id) => {
    const answer = await show(id)
    expect([answer.status, answer.json.error.message]).toEqual([404, 'There is no such webhook.'])
  })
})
