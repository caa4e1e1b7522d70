/** A test call of a webhook: one attempt, now, also of one that is disabled. */
import { randomUUID } from 'node:crypto'
import { AppError } from '../errors.ts'
import type { DeliveryLog } from './delivery-log.ts'
import { claimMs, type DeliveryQueue } from './delivery-queue.ts'
import { sendDelivery } from './dispatcher.ts'
import type { Attempt, Sender } from './sender.ts'
import type { WebhookSecrets } from './signature.ts'

export interface TestCallOptions {
  readonly deliveries: Pick<DeliveryLog, 'startTest'>
  readonly queue: Pick<DeliveryQueue, 'read' | 'record'>
  readonly sender: Pick<Sender, 'send'>
  /** @throws {AppError} WEBHOOKS_DISABLED */
  readonly secrets: () => Pick<WebhookSecrets, 'sign'>
  /** Milliseconds since the epoch. */
  readonly now?: () => number
}

export class TestCall {
  readonly #options: TestCallOptions

  constructor(options: TestCallOptions) {
    this.#options = options
  }

  /** @throws {AppError} WEBHOOKS_DISABLED, NOT_FOUND. */
  async make(webhookId: number): Promise<{ deliveryId: number; attempt: Attempt }> {
    const { deliveries, queue, sender, now = Date.now } = this.#options
    const secrets = this.#options.secrets()
    const deliveryId = await deliveries.startTest(webhookId, `test-${randomUUID()}`, claimMs)
    const delivery = await queue.read(deliveryId)
    const attempt = delivery && (await sendDelivery(delivery, { sender, secrets, now }))
    if (delivery === undefined || attempt === undefined)
      throw new AppError('NOT_FOUND', 'There is no such webhook.')
    await queue.record(delivery, attempt, true)
    return { deliveryId, attempt }
  }
}
