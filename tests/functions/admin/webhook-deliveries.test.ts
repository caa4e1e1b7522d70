import { describe, expect, it } from 'vitest'
import { itIsForAdminsOnly } from './refusals.ts'
import { unknownIds, withWebhooks } from './webhook-calls.ts'

const calls = withWebhooks()
const { create, deliveries, sweep } = calls

interface Row {
  readonly device_id: number
  readonly status: string
}

describe('the deliveries of a webhook', () => {
  itIsForAdminsOnly(
    () => calls.functions,
    async (options) => deliveries((await create({ events: ['alert.*'] })).json.webhook.id, '', options),
  )

  it('are listed newest first, in pages, and by their status', async () => {
    const { id } = (await create({ events: ['device.registered'] })).json.webhook
    await create({ name: 'another' })
    const ids: number[] = []
    for (let n = 0; n < 3; n += 1) ids.unshift((await calls.functions.register()).id)
    await calls.expand()
    const of = (json: { deliveries: Row[] }) => json.deliveries.map((row) => row.device_id)
    const first = (await deliveries(id, '?limit=2')).json
    expect([of(first), first.webhook_id]).toEqual([ids.slice(0, 2), id])
    expect(first.deliveries[0]).toEqual({
      id: expect.any(Number),
      webhook_id: id,
      event_id: expect.stringMatching(/^event-\d+$/),
      type: 'device.registered',
      device_id: ids[0],
      status: 'pending',
      attempt_count: 0,
      created_at: expect.any(String),
      next_attempt_at: expect.any(String),
      finished_at: null,
      last_status_code: null,
      last_error: null,
    })
    const second = (await deliveries(id, `?limit=2&cursor=${first.next_cursor}`)).json
    expect([of(second), second.next_cursor]).toEqual([ids.slice(2), undefined])
    let answered = 0
    calls.receiver.answer(() => {
      answered += 1
      return answered === 1 ? 500 : 204
    })
    await sweep()
    expect(of((await deliveries(id, '?status=failed')).json)).toEqual([])
    const done = (await deliveries(id, '?status=delivered')).json
    expect(done.deliveries.length + (await deliveries(id, '?status=pending')).json.deliveries.length).toBe(3)
    expect(done.deliveries[0]).toMatchObject({
      status: 'delivered',
      last_status_code: 204,
      next_attempt_at: null,
      finished_at: expect.any(String),
    })
  })

  it.each(['?status=lost', '?limit=0', '?cursor=x'])('are refused by 422 for %s', async (query) => {
    const { id } = (await create({ events: ['alert.*'] })).json.webhook
    expect((await deliveries(id, query)).status).toBe(422)
  })

  it.each(unknownIds)('answer 404 for the id %s', async (id) => {
    expect((await deliveries(id)).status).toBe(404)
  })
})
