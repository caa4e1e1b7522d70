import { createHmac } from 'node:crypto'
import fc from 'fast-check'
import { Webhook } from 'standardwebhooks'
import { describe, expect, it } from 'vitest'
import { WebhookSecrets } from '../../../lib/webhooks/signature.ts'

const key = 'a key of the tests, long enough for it'
const secrets = new WebhookSecrets(key)
const hour = 3_600_000
const signerOf = (secretVersion = 1, previousSecretUntil: number | null = null) => ({
  id: 7,
  secretVersion,
  previousSecretUntil,
})
const verify = (secret: string, body: string, headers: Record<string, string>) =>
  new Webhook(secret).verify(body, headers)

describe('a signature', () => {
  it('is one that the reference library takes, of any body', () => {
    fc.assert(
      fc.property(fc.json(), (body) => {
        const headers = secrets.sign(signerOf(), { id: 'event-1', body }, Date.now())
        expect(verify(secrets.of(signerOf()), body, headers)).toEqual(JSON.parse(body))
        expect(() => verify(secrets.of(signerOf()), `${body} `, headers)).toThrow()
        expect(() => verify(secrets.of(signerOf()), body, { ...headers, 'webhook-id': 'event-2' })).toThrow()
      }),
      { numRuns: 50 },
    )
  })

  it('is of the time of the attempt', () => {
    const [body, then] = ['{}', Date.now() - hour]
    const headers = secrets.sign(signerOf(), { id: 'event-1', body }, then)
    expect(headers['webhook-timestamp']).toBe(String(Math.floor(then / 1000)))
    expect(() => verify(secrets.of(signerOf()), body, headers)).toThrow(/too old/i)
  })

  it('is by both secrets during an overlap, and by the new one only behind it', () => {
    const now = Date.now()
    const [old, current] = [secrets.of(signerOf(1)), secrets.of(signerOf(2))]
    expect(old).not.toBe(current)
    const during = secrets.sign(signerOf(2, now + hour), { id: 'e', body: '{}' }, now)
    expect([verify(old, '{}', during), verify(current, '{}', during)]).toEqual([{}, {}])
    const after = secrets.sign(signerOf(2, now), { id: 'e', body: '{}' }, now)
    expect(verify(current, '{}', after)).toEqual({})
    expect(() => verify(old, '{}', after)).toThrow()
  })
})

describe('the secret of a webhook', () => {
  it('is derived from the key, the id and the version', () => {
    const bytes = createHmac('sha256', key).update('webhook:7:1').digest('base64')
    expect(secrets.of(signerOf())).toBe(`whsec_${bytes}`)
    const others = [
      secrets.of({ id: 8, secretVersion: 1 }),
      secrets.of(signerOf(2)),
      new WebhookSecrets(`${key}!`).of(signerOf()),
    ]
    expect(new Set([...others, secrets.of(signerOf())]).size).toBe(4)
  })

  it('needs a key', () => {
    expect(() => new WebhookSecrets(undefined)).toThrow(
      expect.objectContaining({ code: 'WEBHOOKS_DISABLED' }),
    )
  })
})
