/**
 * The queue of deliveries in the registry. A process claims deliveries before it sends them: others leave these alone until the
 * claim ends, and send again what a process that has ended had claimed. Of a webhook and a device, one delivery has its turn.
 */
import { type SQL, sql } from 'drizzle-orm'
import type { RegistryDb } from '../registry/db.ts'
import { expandOutbox } from '../registry/webhook-outbox.ts'
import { waitsForTurn } from '../registry/webhook-tables.ts'
import {
  backoffMs,
  type ClaimedDelivery,
  jitteredBackoffMs,
  longestBackoffMs,
  patienceMs,
  type WebhookEvent,
} from './delivery.ts'
import { type Attempt, sendMs } from './sender.ts'
import { SharedTransaction } from './shared-transaction.ts'
import { cancelPending } from './webhook-store.ts'

/** A process sends and records what it has claimed within this time, ms. */
export const claimMs = sendMs + 20_000
/** Requests to one webhook at a time. */
const perWebhook = 8
/** After so many failures in a row the whole webhook pauses, and one request at a time tries whether it answers again. */
const pauseAfter = 10
/** Finished deliveries are kept for so long, and events a day longer, ms. */
const keptMs = 7 * 86_400_000
const rowsPerSweep = 1000
const goneReason = 'The receiver answered 410 Gone.'

/** What became of a delivery by one attempt. */
export type Outcome = 'delivered' | 'failed' | 'retried' | 'gone'

export interface QueueState {
  readonly pending: number
  /** When the oldest event that waits happened, milliseconds since the epoch; null when none waits. */
  readonly oldestAt: number | null
}

interface ClaimedRow {
  readonly id: number
  readonly deviceId: number | null
  readonly attempts: number
  readonly createdAt: number
  readonly eventId: string
  readonly type: string
  readonly at: number
  readonly data: string
  readonly webhookId: number
  readonly url: string
  readonly secretVersion: number
  readonly previousSecretUntil: number | null
}

const toClaimed = (row: ClaimedRow): ClaimedDelivery => ({
  id: row.id,
  deviceId: row.deviceId,
  attempts: row.attempts,
  createdAt: row.createdAt,
  event: { id: row.eventId, type: row.type, at: row.at, data: row.data },
  webhook: {
    id: row.webhookId,
    url: row.url,
    secretVersion: row.secretVersion,
    previousSecretUntil: row.previousSecretUntil,
  },
})

export class DeliveryQueue {
  readonly #db: RegistryDb
  readonly #now: () => number
  readonly #records: SharedTransaction

  /** @param now milliseconds since the epoch. */
  constructor(db: RegistryDb, now: () => number = Date.now) {
    this.#db = db
    this.#now = now
    this.#records = new SharedTransaction(db)
  }

  /** Takes what has happened in the registry since the last time. */
  takeOutbox(): Promise<void> {
    return expandOutbox(this.#db)
  }

  /** Takes events that did not happen in the registry; one that it knows, and one that no webhook asks for, is left out. */
  async add(events: readonly WebhookEvent[]): Promise<void> {
    if (events.length === 0) return
    await this.#db.run(sql`insert into webhook_events (event_id, type, device_id, at, data)
      select given.value ->> 'eventId', given.value ->> 'type', given.value ->> 'deviceId', given.value ->> 'at',
        json_patch(json_object('device_id', given.value ->> 'deviceId', 'device_name',
          (select name from devices where id = given.value ->> 'deviceId')), given.value -> 'data')
      from json_each(${JSON.stringify(events)}) as given
      where exists (select 1 from webhooks, json_each(webhooks.events) as asked
        where webhooks.enabled = 1 and given.value ->> 'type' glob asked.value)
      order by given.key
      on conflict do nothing`)
  }

  /** Claims what is due. @param max at most so many. */
  async claim(max: number): Promise<ClaimedDelivery[]> {
    await this.takeOutbox()
    if (max < 1) return []
    const now = this.#now()
    const ready = await this.#db.all<{ id: number; failures: number }>(sql`select id, failures from webhooks
      where enabled = 1 and coalesce(paused_until, 0) <= ${now} and exists (${dueOf(sql`webhooks.id`, now)})
      order by (select count(*) from webhook_deliveries where webhook_id = webhooks.id and busy_until > ${now}), random()`)
    // Takes turns, so that webhooks with much to send, or slow ones, do not keep the others waiting.
    const share = Math.max(1, Math.floor(max / Math.max(1, ready.length)))
    const [first, ...others] = ready
      .slice(0, max)
      .map(({ id, failures }) =>
        this.#claimOf(id, Math.min(share, failures >= pauseAfter ? 1 : perWebhook), failures, now),
      )
    if (first === undefined) return []
    const claimed = (await this.#db.batch([first, ...others])).flat()
    return claimed.length === 0 ? [] : this.#read(claimed.map(({ id }) => id))
  }

  /** Claims one delivery that is claimed already by a call of `startTest`. */
  async read(id: number): Promise<ClaimedDelivery | undefined> {
    return (await this.#read([id]))[0]
  }

  /**
   * Records an attempt, ends the claim, and gives the next delivery of the device its turn.
   * @param isLast it is not tried again, as that of a test call.
   */
  async record(delivery: ClaimedDelivery, attempt: Attempt, isLast = false): Promise<Outcome> {
    const now = this.#now()
    const { id, createdAt, attempts, webhook } = delivery
    const isDelivered = attempt.error === null
    const nextAt = now + jitteredBackoffMs(attempts + 1)
    const isOver = isDelivered || isLast || nextAt > createdAt + patienceMs
    const isGone = attempt.statusCode === 410 && !isLast && (await this.#isStillAt(webhook))
    const status = isDelivered ? 'delivered' : isOver || isGone ? 'failed' : 'pending'
    const isFinished = status !== 'pending'
    await this.#records.write([
      this.#db.run(sql`insert into webhook_attempts (delivery_id, at, duration_ms, status_code, error, answer)
        select id, ${attempt.at}, ${attempt.durationMs}, ${attempt.statusCode}, ${attempt.error}, ${attempt.answer}
        from webhook_deliveries where id = ${id}`),
      this.#db.run(sql`update webhook_deliveries set attempts = attempts + 1, busy_until = null,
        status = iif(finished_at is null, ${status}, status),
        next_attempt_at = iif(finished_at is null, ${nextAt}, next_attempt_at),
        finished_at = coalesce(finished_at, ${isFinished ? now : null}) where id = ${id}`),
      ...(isFinished ? [this.#db.run(giveTurn(delivery))] : []),
      ...(isLast ? [] : [this.#db.run(isDelivered ? answered(webhook) : failedOf(webhook, attempt.at, now))]),
      ...(isGone
        ? [
            this.#db.run(sql`update webhooks set enabled = 0, disabled_reason = ${goneReason}, updated_at = ${now}
              where id = ${webhook.id}`),
            this.#db.run(cancelPending(webhook.id, now)),
          ]
        : []),
    ])
    if (isGone) return 'gone'
    return status === 'pending' ? 'retried' : status
  }

  /** Ends the claim of a delivery that was not sent to its end: it is due at once. */
  async release(delivery: ClaimedDelivery): Promise<void> {
    await this.#db.run(sql`update webhook_deliveries set busy_until = null where id = ${delivery.id}`)
  }

  /** Ends the claims of processes before this one: only for the one process that uses the registry. */
  async endClaims(): Promise<void> {
    await this.#db.run(sql`update webhook_deliveries set busy_until = null where busy_until is not null`)
  }

  /**
   * ms until there may be something to send, 0 when there is something now; undefined when nothing waits but what a process has
   * claimed, which goes on with it.
   */
  async nextDueMs(): Promise<number | undefined> {
    await this.takeOutbox()
    const now = this.#now()
    const [row] = await this.#db.all<{ at: number | null }>(sql`
      select min(max(coalesce(paused_until, 0), (select next_attempt_at from webhook_deliveries
        where webhook_id = webhooks.id and finished_at is null and next_attempt_at < ${waitsForTurn}
          and coalesce(busy_until, 0) <= ${now} order by next_attempt_at limit 1))) as at
      from webhooks where enabled = 1`)
    const at = row?.at ?? null
    return at === null ? undefined : Math.max(0, at - now)
  }

  /**
   * Gives up what is older than a day and cannot be sent: it has failed, or its webhook has.
   * @returns how many.
   */
  async giveUp(): Promise<number> {
    const now = this.#now()
    const rows = await this.#db.all<{ webhookId: number; deviceId: number | null }>(sql`
      update webhook_deliveries set status = 'failed', finished_at = ${now}, busy_until = null
      where id in (select d.id from webhook_deliveries d join webhooks w on w.id = d.webhook_id
        where d.finished_at is null and d.created_at <= ${now - patienceMs} and coalesce(d.busy_until, 0) <= ${now}
          and (d.attempts > 0 and d.next_attempt_at > ${now} or coalesce(w.paused_until, 0) > ${now} or w.enabled = 0)
        order by d.created_at limit ${rowsPerSweep})
      returning webhook_id as webhookId, device_id as deviceId`)
    const turns = new Map(rows.map((row) => [`${row.webhookId} ${row.deviceId}`, row]))
    const [first, ...others] = [...turns.values()].map(({ webhookId, deviceId }) =>
      this.#db.run(giveTurn({ webhook: { id: webhookId }, deviceId })),
    )
    if (first !== undefined) await this.#db.batch([first, ...others])
    return rows.length
  }

  /** Makes times possible again that a clock which was ahead has left: nobody would wait for them otherwise. */
  async correctTimes(): Promise<void> {
    const now = this.#now()
    const latest = now + 2 * longestBackoffMs
    await this.#db.batch([
      this.#db.run(sql`update webhooks set paused_until = null where paused_until > ${latest}`),
      this.#db.run(sql`update webhook_deliveries set busy_until = null where busy_until > ${now + claimMs + 60_000}
        and webhook_id in (select id from webhooks)`),
      this.#db.run(sql`update webhook_deliveries set next_attempt_at = ${now} where finished_at is null
        and webhook_id in (select id from webhooks) and next_attempt_at > ${latest} and next_attempt_at < ${waitsForTurn}`),
    ])
  }

  /** Deletes some of what is kept no longer. @returns whether there may be more. */
  async prune(): Promise<boolean> {
    const before = this.#now() - keptMs
    const results = await this.#db.batch([
      this.#db.run(sql`delete from webhook_deliveries where id in (select id from webhook_deliveries
        where finished_at is not null and finished_at < ${before} limit ${rowsPerSweep})`),
      this.#db.run(sql`delete from webhook_events where seq in (select seq from webhook_events as e
        where at < ${before - 86_400_000} and not exists (select 1 from webhook_deliveries where event_seq = e.seq)
        limit ${rowsPerSweep})`),
    ])
    return results.some(({ rowsAffected }) => rowsAffected >= rowsPerSweep)
  }

  async state(): Promise<QueueState> {
    const [row] = await this.#db.all<QueueState>(sql`select count(*) as pending, min(created_at) as oldestAt
      from webhook_deliveries where finished_at is null`)
    return row ?? { pending: 0, oldestAt: null }
  }

  /** Whether a webhook has the address that a request went to. */
  async #isStillAt({ id, url }: Target): Promise<boolean> {
    const rows = await this.#db.all(sql`select 1 from webhooks where id = ${id} and url = ${url}`)
    return rows.length > 0
  }

  #claimOf(webhookId: number, limit: number, failures: number, now: number) {
    const most = failures >= pauseAfter ? 1 : perWebhook
    const free = sql`max(0, min(${limit}, ${most} - (select count(*) from webhook_deliveries
      where webhook_id = ${webhookId} and busy_until > ${now})))`
    return this.#db.all<{ id: number }>(sql`update webhook_deliveries set busy_until = ${now + claimMs}
      where id in (${dueOf(sql`${webhookId}`, now)} order by next_attempt_at, id limit ${free}) returning id`)
  }

  async #read(ids: readonly number[]): Promise<ClaimedDelivery[]> {
    const rows = await this.#db.all<ClaimedRow>(sql`
      select d.id, d.device_id as deviceId, d.attempts, d.created_at as createdAt,
        e.event_id as eventId, e.type, e.at, e.data,
        w.id as webhookId, w.url, w.secret_version as secretVersion, w.previous_secret_until as previousSecretUntil
      from webhook_deliveries d join webhook_events e on e.seq = d.event_seq join webhooks w on w.id = d.webhook_id
      where d.id in (select value from json_each(${JSON.stringify(ids)})) order by d.id`)
    return rows.map(toClaimed)
  }
}

const dueOf = (webhookId: SQL, now: number) =>
  sql`select id from webhook_deliveries where webhook_id = ${webhookId} and finished_at is null
    and next_attempt_at <= ${now} and coalesce(busy_until, 0) <= ${now}`

/** The oldest delivery of the webhook and the device that waits for its turn gets it, unless another one has it. */
const giveTurn = ({ webhook, deviceId }: { webhook: { id: number }; deviceId: number | null }): SQL =>
  sql`update webhook_deliveries set next_attempt_at = 0 where next_attempt_at = ${waitsForTurn} and id = (
    select min(id) from webhook_deliveries
    where webhook_id = ${webhook.id} and device_id is ${deviceId} and finished_at is null)`

type Target = Pick<ClaimedDelivery['webhook'], 'id' | 'url'>

/** An attempt at an address that the webhook had before says nothing about the present one. */
const answered = ({ id, url }: Target): SQL =>
  sql`update webhooks set failures = 0, paused_until = null where id = ${id} and url = ${url} and failures > 0`

/** Attempts that were under way when the pause began say nothing about its end, so that they do not make it longer. */
const failedOf = ({ id, url }: Target, startedAt: number, now: number): SQL => {
  const pauses = sql.raw(
    `case failures + 1 - ${pauseAfter} ${[0, 1, 2, 3, 4]
      .map((level) => `when ${level} then ${backoffMs(level + 1)}`)
      .join(' ')} else ${backoffMs(6)} end`,
  )
  return sql`update webhooks set
      paused_until = iif(failures + 1 < ${pauseAfter}, paused_until, ${now} + ${pauses}), failures = failures + 1
    where id = ${id} and url = ${url} and coalesce(paused_until, 0) <= ${startedAt}`
}
