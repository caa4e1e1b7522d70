import { Webhook as Verifier } from 'standardwebhooks'
import { describe, expect, it } from 'vitest'
import type { Received } from '../../support/webhook-receiver.ts'
import { itIsForAdminsOnly } from './refusals.ts'
import { unknownIds, withWebhooks } from './webhook-calls.ts'

const calls = withWebhooks()
const { create, rotate, test, show } = calls

const verifies = (secret: string, { text, headers }: Received) => {
  try {
    new Verifier(secret).verify(text, headers as Record<string, string>)
    return true
  } catch {
    return false
  }
}
const last = () => calls.receiver.received.at(-1) as Received

describe('a new secret', () => {
  itIsForAdminsOnly(
    () => calls.functions,
    async (options) => rotate((await create()).json.webhook.id, undefined, options),
  )

  it('signs beside the one before for a day, or as long as is asked for', async () => {
    const { webhook, secret: old } = (await create({ name: 'rotated' })).json
    await test(webhook.id)
    expect(verifies(old, last())).toBe(true)
    const { json, status } = await rotate(webhook.id)
    expect([status, json]).toEqual([
      200,
      {
        status: 'success',
        message: 'Secret rotated successfully',
        webhook: { ...webhook, updated_at: expect.any(String) },
        secret: expect.stringMatching(/^whsec_/),
        previous_secret_until: expect.any(String),
      },
    ])
    const overlap = Date.parse(json.previous_secret_until) - Date.now()
    expect(overlap / 3_600_000).toBeCloseTo(24, 1)
    await test(webhook.id)
    expect([verifies(old, last()), verifies(json.secret, last())]).toEqual([true, true])
    // A further one ends the first.
    const next = (await rotate(webhook.id, { overlap_s: 60 })).json
    await test(webhook.id)
    expect([old, json.secret, next.secret].map((secret) => verifies(secret, last()))).toEqual([
      false,
      true,
      true,
    ])
  })

  it('is alone without an overlap', async () => {
    const { webhook, secret: old } = (await create()).json
    const { json } = await rotate(webhook.id, { overlap_s: 0 })
    expect(json.previous_secret_until).toBeNull()
    await test(webhook.id)
    expect([verifies(old, last()), verifies(json.secret, last())]).toEqual([false, true])
    expect((await show(webhook.id)).text).not.toContain('whsec_')
  })

  it.each([{ overlap_s: -1 }, { overlap_s: 604_801 }, { overlap_s: 'x' }])(
    'is refused by 422 for %j',
    async (body) => {
      const { id } = (await create()).json.webhook
      const answer = await rotate(id, body)
      expect([answer.status, answer.json.error.details[0].path]).toEqual([422, 'overlap_s'])
    },
  )

  it.each(unknownIds)('answers 404 for the id %s', async (id) => {
    expect((await rotate(id)).status).toBe(404)
  })
})
