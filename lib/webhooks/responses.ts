/** Schemas of webhooks and deliveries, as responses show them. */
import * as z from 'zod'
import { count, deviceId, time } from '../response-fields.ts'
import { deliveryStatuses } from './delivery.ts'

const id = z.int().min(1)

/** The parameter of the path, for the documentation. */
export const deliveryIdParameter = {
  delivery_id: {
    description: 'The id of the delivery.',
    schema: { type: 'string', pattern: '^[1-9][0-9]{0,14}$' },
    example: '1',
  },
}

export const webhook = z
  .strictObject({
    id,
    name: z.string(),
    url: z.string(),
    events: z.array(z.string()),
    enabled: z.boolean(),
    disabled_reason: z.string().nullable().describe('Why this system has disabled it; null when it has not.'),
    created_at: time,
    updated_at: time,
    failures: count.describe('Failed attempts since the last one that succeeded.'),
    paused_until: time.nullable().describe('No attempt before; null while the receiver answers.'),
    pending: count.describe('Deliveries that are not finished.'),
  })
  .meta({ id: 'Webhook', description: 'An address that is told of events.' })

export const secret = z
  .string()
  .regex(/^whsec_[A-Za-z0-9+/]{43}=$/)
  .meta({
    id: 'WebhookSecret',
    description: 'By which the receiver checks signatures; shown here only.',
  })

export const previousSecretUntil = time
  .nullable()
  .describe('Until then messages have a signature by the secret before, too; null: by the new one only.')

const deliveryFields = {
  id,
  webhook_id: id,
  event_id: z.string().describe('The same at every attempt: the header `webhook-id`.'),
  type: z.string(),
  device_id: deviceId.nullable(),
  status: z.enum(deliveryStatuses),
  attempt_count: count,
  created_at: time.describe('When the event happened.'),
  next_attempt_at: time
    .nullable()
    .describe('Null when it is finished, and while an earlier one of its device is not.'),
  finished_at: time.nullable(),
  last_status_code: z.int().nullable().describe('Of the last attempt; null when there was no answer.'),
  last_error: z.string().nullable().describe('Why the last attempt failed.'),
}

export const delivery = z.strictObject(deliveryFields).meta({ id: 'WebhookDelivery' })

export const attempt = z
  .strictObject({
    at: time,
    duration_ms: count,
    status_code: z.int().nullable().describe('HTTP status of the answer; null when there was none.'),
    error: z.string().nullable().describe('Why it failed; null when it succeeded.'),
    answer: z.string().nullable().describe('The beginning of the answer.'),
  })
  .meta({ id: 'WebhookAttempt' })

export const deliveryDetails = z
  .strictObject({
    ...deliveryFields,
    body: z
      .strictObject({
        type: z.string(),
        timestamp: time,
        data: z.record(z.string(), z.unknown()),
      })
      .describe('The message.'),
    attempts: z.array(attempt).describe('The oldest first; of many, the newest 100.'),
  })
  .meta({ id: 'WebhookDeliveryDetails' })
