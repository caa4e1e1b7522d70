import { describe, expect, it } from 'vitest'
import { itIsForAdminsOnly } from './refusals.ts'
import { withWebhooks } from './webhook-calls.ts'

const calls = withWebhooks()
const { create, list } = calls

describe('the list of webhooks', () => {
  itIsForAdminsOnly(
    () => calls.functions,
    (options) => list('', options),
  )

  it('is empty at first, then newest first, in pages', async () => {
    expect((await list()).json).toEqual({ status: 'success', webhooks: [] })
    for (const name of ['one', 'two', 'three']) await create({ name })
    const names = (json: { webhooks: { name: string }[] }) => json.webhooks.map(({ name }) => name)
    const first = (await list('?limit=2')).json
    expect(names(first)).toEqual(['three', 'two'])
    const second = (await list(`?limit=2&cursor=${first.next_cursor}`)).json
    expect([names(second), second.next_cursor]).toEqual([['one'], undefined])
  })

  it.each(['?limit=0', '?cursor=x'])('refuses %s', async (query) => {
    expect((await list(query)).status).toBe(422)
  })
})
