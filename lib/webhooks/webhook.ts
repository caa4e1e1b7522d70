/** Webhooks: addresses that are told of events, as operators see them. */
import { formatMillis } from '../iso-time.ts'

/** What a webhook can be told of. */
export const eventTypes = [
  'alert.opened',
  'alert.acknowledged',
  'alert.cleared',
  'device.registered',
  'device.online',
  'device.offline',
  'command.sent',
  'command.acknowledged',
  'command.succeeded',
  'command.failed',
  'command.expired',
  'command.cancelled',
] as const

/** What a webhook may ask for: a type, all types of a kind, or all. The triggers look for these texts, with their quotes. */
export const eventPatterns = [...eventTypes, 'alert.*', 'device.*', 'command.*', '*'] as const

/** The type of the event of a test call. */
export const testType = 'webhook.test'

/** A webhook. Times are milliseconds since the epoch. */
export interface Webhook {
  readonly id: number
  readonly name: string
  readonly url: string
  readonly events: readonly string[]
  readonly enabled: boolean
  /** Why this system has disabled it; null when it has not. */
  readonly disabledReason: string | null
  /** Rises with each rotation of the secret. */
  readonly secretVersion: number
  /** Until then the secret before this one signs, too; null when there is none. */
  readonly previousSecretUntil: number | null
  readonly createdAt: number
  readonly updatedAt: number
  /** Failed attempts since the last one that succeeded; those that began before a pause do not lengthen it. */
  readonly failures: number
  /** No attempt before this time; null when the address answers. */
  readonly pausedUntil: number | null
  /** Deliveries that are not finished. */
  readonly pending: number
}

const timeOrNull = (ms: number | null) => (ms === null ? null : formatMillis(ms))

/** A webhook as answers show it. */
export const webhookView = (webhook: Webhook) => ({
  id: webhook.id,
  name: webhook.name,
  url: webhook.url,
  events: [...webhook.events],
  enabled: webhook.enabled,
  disabled_reason: webhook.disabledReason,
  created_at: formatMillis(webhook.createdAt),
  updated_at: formatMillis(webhook.updatedAt),
  failures: webhook.failures,
  paused_until: timeOrNull(webhook.pausedUntil),
  pending: webhook.pending,
})
