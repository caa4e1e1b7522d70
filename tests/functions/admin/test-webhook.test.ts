import { Webhook as Verifier } from 'standardwebhooks'
import { describe, expect, it } from 'vitest'
import { itIsForAdminsOnly } from './refusals.ts'
import { unknownIds, withWebhooks } from './webhook-calls.ts'

const calls = withWebhooks()
const { create, test, update, show, delivery, sweep } = calls

describe('a test call', () => {
  itIsForAdminsOnly(
    () => calls.functions,
    async (options) => test((await create()).json.webhook.id, options),
  )

  it('sends one signed message now, and answers with the attempt', async () => {
    await sweep()
    calls.receiver.received.length = 0
    const { webhook, secret } = (await create({ events: ['alert.*'] })).json
    const { json, status } = await test(webhook.id)
    expect([status, json]).toEqual([
      200,
      {
        status: 'success',
        delivered: true,
        delivery_id: expect.any(Number),
        attempt: {
          at: expect.any(String),
          duration_ms: expect.any(Number),
          status_code: 204,
          error: null,
          answer: '',
        },
      },
    ])
    expect(calls.receiver.received).toHaveLength(1)
    const [message] = calls.receiver.received
    new Verifier(secret).verify(message?.text ?? '', message?.headers as Record<string, string>)
    expect(message?.body).toEqual({
      type: 'webhook.test',
      timestamp: expect.any(String),
      data: { webhook_id: webhook.id },
    })
    expect((await delivery(webhook.id, json.delivery_id)).json.delivery).toMatchObject({
      status: 'delivered',
      type: 'webhook.test',
      device_id: null,
      attempts: [json.attempt],
    })
    await sweep()
    expect(calls.receiver.received).toHaveLength(1)
  })

  it('that fails is not tried again, and does not pause the webhook', async () => {
    const { id } = (await create()).json.webhook
    calls.receiver.answer(() => (response) => response.writeHead(500).end('out of order'))
    const { json } = await test(id)
    expect(json).toMatchObject({
      delivered: false,
      attempt: { status_code: 500, error: 'The receiver answered 500.', answer: 'out of order' },
    })
    expect((await show(id)).json.webhook).toMatchObject({ failures: 0, pending: 0, paused_until: null })
    calls.receiver.answer(410)
    await test(id)
    expect((await show(id)).json.webhook).toMatchObject({ enabled: true })
    calls.receiver.received.length = 0
    await sweep()
    expect(calls.receiver.received).toEqual([])
  })

  it('is made while the webhook is disabled, too', async () => {
    const { id } = (await create()).json.webhook
    await update(id, { enabled: false })
    expect((await test(id)).json.delivered).toBe(true)
  })

  it.each(unknownIds)('answers 404 for the id %s', async (id) => {
    expect((await test(id)).status).toBe(404)
  })
})
