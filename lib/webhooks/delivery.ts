/** Deliveries of events to webhooks: what is sent, and when it is tried again. */
import { formatMillis } from '../iso-time.ts'
import { waitsForTurn } from '../registry/webhook-tables.ts'
import type { Attempt } from './sender.ts'
import type { Signer } from './signature.ts'

export const deliveryStatuses = ['pending', 'delivered', 'failed', 'cancelled'] as const

/** An event as webhooks are told of it. */
export interface WebhookEvent {
  /** The same however often the event is told. */
  readonly eventId: string
  readonly type: string
  readonly deviceId: number | null
  /** When it happened, milliseconds since the epoch. */
  readonly at: number
  readonly data: Readonly<Record<string, unknown>>
}

/** A delivery as operators see it in a list. Times are milliseconds since the epoch. */
export interface Delivery extends Omit<WebhookEvent, 'data' | 'at'> {
  readonly id: number
  readonly webhookId: number
  readonly status: (typeof deliveryStatuses)[number]
  readonly attempts: number
  /** When the event happened. */
  readonly createdAt: number
  readonly nextAttemptAt: number
  readonly finishedAt: number | null
  /** Of the last attempt. */
  readonly lastStatusCode: number | null
  readonly lastError: string | null
}

/** A delivery that this process has claimed, with all that it takes to send it. */
export interface ClaimedDelivery {
  readonly id: number
  readonly deviceId: number | null
  readonly attempts: number
  readonly createdAt: number
  readonly event: { readonly id: string; readonly type: string; readonly at: number; readonly data: string }
  readonly webhook: Signer & { readonly url: string }
}

/** Deliveries end so long after their event, ms. */
export const patienceMs = 86_400_000

const second = 1000
const minute = 60 * second
const hour = 60 * minute
/** Without chance, ms. */
export const longestBackoffMs = hour
const pauses = [5 * second, 30 * second, 2 * minute, 10 * minute, 30 * minute, hour]

/** Time until the next attempt, ms, without chance. @param failures in a row, from 1. */
export const backoffMs = (failures: number): number =>
  pauses[Math.min(Math.max(failures, 1), pauses.length) - 1] ?? hour

/** The same with up to a fifth more or less: receivers that failed together are not asked again together. */
export const jitteredBackoffMs = (failures: number, random: () => number = Math.random): number =>
  Math.round(backoffMs(failures) * (0.8 + 0.4 * random()))

/** The body of a message: the same at every attempt. */
export const bodyOf = ({ type, at, data }: ClaimedDelivery['event']): string =>
  `{"type":${JSON.stringify(type)},"timestamp":"${formatMillis(at)}","data":${data}}`

const timeOrNull = (ms: number | null) => (ms === null ? null : formatMillis(ms))

/** A delivery as answers show it. */
export const deliveryView = (delivery: Delivery) => ({
  id: delivery.id,
  webhook_id: delivery.webhookId,
  event_id: delivery.eventId,
  type: delivery.type,
  device_id: delivery.deviceId,
  status: delivery.status,
  attempt_count: delivery.attempts,
  created_at: formatMillis(delivery.createdAt),
  next_attempt_at:
    delivery.status !== 'pending' || delivery.nextAttemptAt === waitsForTurn
      ? null
      : formatMillis(Math.max(delivery.nextAttemptAt, delivery.createdAt)),
  finished_at: timeOrNull(delivery.finishedAt),
  last_status_code: delivery.lastStatusCode,
  last_error: delivery.lastError,
})

/** An attempt as answers show it. */
export const attemptView = ({ at, durationMs, statusCode, error, answer }: Attempt) => ({
  at: formatMillis(at),
  duration_ms: durationMs,
  status_code: statusCode,
  error,
  answer,
})
