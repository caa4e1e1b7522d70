/**
 * The tables of webhooks. Triggers of the migration fill them: a row of `events` and a new state of a command are noted in the
 * outbox in the transaction of what happened, a process makes webhook events of them a moment later, and a webhook event
 * becomes a delivery for each webhook that asks for its type.
 */
import { sql } from 'drizzle-orm'
import { index, integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'

/** Addresses that are told of events. The secret is no column: it is derived from the signing key, the id and the version. */
export const webhooks = sqliteTable('webhooks', {
  id: integer('id').primaryKey({ autoIncrement: true }),
  name: text('name').notNull(),
  url: text('url').notNull(),
  /** JSON list of event types; `alert.*` stands for all that begin so. */
  events: text('events').notNull(),
  enabled: integer('enabled', { mode: 'boolean' }).notNull().default(true),
  /** Why it is not enabled, where this system has disabled it. */
  disabledReason: text('disabled_reason'),
  secretVersion: integer('secret_version').notNull().default(1),
  /** Until then the secret before this one signs too; null when there is none. */
  previousSecretUntil: integer('previous_secret_until'),
  createdAt: integer('created_at').notNull(),
  updatedAt: integer('updated_at').notNull(),
  /** Failed attempts since the last one that succeeded. */
  failures: integer('failures').notNull().default(0),
  /** No attempt before this time, because the last ones failed; null when the address answers. */
  pausedUntil: integer('paused_until'),
})

/**
 * What has happened while a webhook was enabled, until a process has made events of it. The view `webhook_outbox_events` shows
 * the events; it leaves out what no webhook can ask for.
 */
export const webhookOutbox = sqliteTable('webhook_outbox', {
  seq: integer('seq').primaryKey(),
  type: text('type').notNull(),
  /** The id of the row of `events` or `commands`. */
  ref: integer('ref').notNull(),
  deviceId: integer('device_id').notNull(),
  at: integer('at').notNull(),
  /** JSON: the detail of the event, or what the device answered to the command. */
  data: text('data'),
})

/** What webhooks are told, in the order in which it happened. */
export const webhookEvents = sqliteTable(
  'webhook_events',
  {
    seq: integer('seq').primaryKey({ autoIncrement: true }),
    /** The id that receivers know: the same event has the same one however often it is written. */
    eventId: text('event_id').notNull().unique(),
    type: text('type').notNull(),
    /** No foreign key: the device may be gone when it is told. */
    deviceId: integer('device_id'),
    /** When it happened. */
    at: integer('at').notNull(),
    /** JSON: the `data` of the message. */
    data: text('data').notNull(),
    /** The only webhook that gets it, of a test call; null for all that ask for its type. */
    onlyWebhookId: integer('only_webhook_id'),
  },
  (t) => [index('webhook_events_at').on(t.at)],
)

/** `next_attempt_at` of a delivery behind another one of its device; the triggers of the migration have this number, too. */
export const waitsForTurn = 9_007_199_254_740_991

export const webhookDeliveries = sqliteTable(
  'webhook_deliveries',
  {
    id: integer('id').primaryKey({ autoIncrement: true }),
    webhookId: integer('webhook_id')
      .notNull()
      .references(() => webhooks.id, { onDelete: 'cascade' }),
    eventSeq: integer('event_seq')
      .notNull()
      .references(() => webhookEvents.seq, { onDelete: 'cascade' }),
    /** As in the event: deliveries of one device to one webhook go in the order of `id`. */
    deviceId: integer('device_id'),
    status: text('status', { enum: ['pending', 'delivered', 'failed', 'cancelled'] })
      .notNull()
      .default('pending'),
    attempts: integer('attempts').notNull().default(0),
    /** When its event happened. */
    createdAt: integer('created_at').notNull(),
    /** {@link waitsForTurn} while an earlier one of the same device is not finished; 0 at first: at once. */
    nextAttemptAt: integer('next_attempt_at').notNull(),
    finishedAt: integer('finished_at'),
    /** A process sends it until then; null when none does. */
    busyUntil: integer('busy_until'),
  },
  (t) => [
    index('webhook_deliveries_webhook').on(t.webhookId, t.id),
    index('webhook_deliveries_pending').on(t.webhookId, t.deviceId, t.id).where(sql`${t.finishedAt} is null`),
    // What is due of a webhook, without a look at those that wait for their turn.
    index('webhook_deliveries_due')
      .on(t.webhookId, t.nextAttemptAt, t.id)
      .where(sql`${t.finishedAt} is null`),
    index('webhook_deliveries_old').on(t.createdAt).where(sql`${t.finishedAt} is null`),
    index('webhook_deliveries_busy').on(t.webhookId, t.busyUntil).where(sql`${t.busyUntil} is not null`),
    index('webhook_deliveries_finished').on(t.finishedAt).where(sql`${t.finishedAt} is not null`),
    index('webhook_deliveries_event').on(t.eventSeq),
  ],
)

/** Each attempt of a delivery. */
export const webhookAttempts = sqliteTable(
  'webhook_attempts',
  {
    id: integer('id').primaryKey({ autoIncrement: true }),
    deliveryId: integer('delivery_id')
      .notNull()
      .references(() => webhookDeliveries.id, { onDelete: 'cascade' }),
    at: integer('at').notNull(),
    durationMs: integer('duration_ms').notNull(),
    /** HTTP status of the answer; null when there was none. */
    statusCode: integer('status_code'),
    /** Why it failed, in our words; null when it succeeded. */
    error: text('error'),
    /** The beginning of the answer, at most 1,024 characters. */
    answer: text('answer'),
  },
  (t) => [index('webhook_attempts_delivery').on(t.deliveryId, t.id)],
)
