/** Signatures of messages to webhooks, as Standard Webhooks defines them. */
import { createHmac } from 'node:crypto'
import { AppError } from '../errors.ts'

/** Whose secret signs. */
export interface Signer {
  readonly id: number
  readonly secretVersion: number
  /** Milliseconds since the epoch. */
  readonly previousSecretUntil: number | null
}

const sha256 = (key: string | Buffer, text: string) => createHmac('sha256', key).update(text)

/**
 * The secrets of all webhooks, derived from one key: the database holds none of them.
 */
export class WebhookSecrets {
  readonly #key: string

  /** @param key the setting WEBHOOK_SIGNING_KEY. @throws {AppError} WEBHOOKS_DISABLED without one. */
  constructor(key: string | undefined) {
    if (key === undefined)
      throw new AppError('WEBHOOKS_DISABLED', 'Webhooks are off: the setting WEBHOOK_SIGNING_KEY is missing.')
    this.#key = key
  }

  /** The secret of a webhook as its receiver gets it. */
  of({ id, secretVersion }: Pick<Signer, 'id' | 'secretVersion'>): string {
    return `whsec_${this.#bytes(id, secretVersion).toString('base64')}`
  }

  /**
   * The headers that sign a message.
   * @param now milliseconds since the epoch.
   */
  sign(signer: Signer, message: { id: string; body: string }, now: number): Record<string, string> {
    const timestamp = String(Math.floor(now / 1000))
    const content = `${message.id}.${timestamp}.${message.body}`
    const { id, secretVersion, previousSecretUntil } = signer
    const isOverlapping = previousSecretUntil !== null && previousSecretUntil > now && secretVersion > 1
    const versions = isOverlapping ? [secretVersion, secretVersion - 1] : [secretVersion]
    const signatures = versions.map((version) => sha256(this.#bytes(id, version), content).digest('base64'))
    return {
      'webhook-id': message.id,
      'webhook-timestamp': timestamp,
      'webhook-signature': signatures.map((signature) => `v1,${signature}`).join(' '),
    }
  }

  #bytes(id: number, version: number): Buffer {
    return sha256(this.#key, `webhook:${id}:${version}`).digest()
  }
}
