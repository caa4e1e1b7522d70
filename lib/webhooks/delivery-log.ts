/** Deliveries in the registry, as operators read them and ask for them again. */
import { sql } from 'drizzle-orm'
import { AppError } from '../errors.ts'
import type { RegistryDb } from '../registry/db.ts'
import { waitsForTurn } from '../registry/webhook-tables.ts'
import type { ClaimedDelivery, Delivery } from './delivery.ts'
import type { Attempt } from './sender.ts'
import { testType } from './webhook.ts'

/** Attempts of one delivery that are shown, the newest ones. */
const maxShownAttempts = 100

const notFound = () => new AppError('NOT_FOUND', 'There is no such delivery.')

const ofLast = (column: 'status_code' | 'error') =>
  sql.raw(`(select ${column} from webhook_attempts where delivery_id = d.id order by id desc limit 1)`)

const columns = sql`d.id, d.webhook_id as webhookId, e.event_id as eventId, e.type, d.device_id as deviceId, d.status, d.attempts,
  d.created_at as createdAt, d.next_attempt_at as nextAttemptAt, d.finished_at as finishedAt,
  ${ofLast('status_code')} as lastStatusCode, ${ofLast('error')} as lastError`

export class DeliveryLog {
  readonly #db: RegistryDb
  readonly #now: () => number

  /** @param now milliseconds since the epoch. */
  constructor(db: RegistryDb, now: () => number = Date.now) {
    this.#db = db
    this.#now = now
  }

  /** Newest first. @param options `before`: only those with a smaller id. */
  list(
    webhookId: number,
    {
      limit,
      before,
      status,
    }: { limit: number; before?: number | undefined; status?: Delivery['status'] | undefined },
  ): Promise<Delivery[]> {
    return this.#db.all<Delivery>(sql`select ${columns}
      from webhook_deliveries d join webhook_events e on e.seq = d.event_seq
      where d.webhook_id = ${webhookId}
        ${before === undefined ? sql`` : sql`and d.id < ${before}`}
        ${status === undefined ? sql`` : sql`and d.status = ${status}`}
      order by d.id desc limit ${limit}`)
  }

  /** A delivery with its attempts, the oldest first, and its message. @throws {AppError} NOT_FOUND */
  async get(
    webhookId: number,
    id: number,
  ): Promise<{ delivery: Delivery; event: ClaimedDelivery['event']; attempts: Attempt[] }> {
    const [found] = await this.#db.all<Delivery & { at: number; data: string }>(sql`
      select ${columns}, e.at, e.data from webhook_deliveries d join webhook_events e on e.seq = d.event_seq
      where d.id = ${id} and d.webhook_id = ${webhookId}`)
    if (found === undefined) throw notFound()
    const { at, data, ...delivery } = found
    const attempts =
      await this.#db.all<Attempt>(sql`select at, duration_ms as durationMs, status_code as statusCode,
        error, answer from webhook_attempts where delivery_id = ${id} order by id desc limit ${maxShownAttempts}`)
    return {
      delivery,
      event: { id: delivery.eventId, type: delivery.type, at, data },
      attempts: attempts.reverse(),
    }
  }

  /**
   * Makes a delivery due now, also one that is finished: receivers know it by the id of its event. The webhook's pause ends.
   * @throws {AppError} NOT_FOUND; CONFLICT when it waits for an earlier one, or the webhook is disabled.
   */
  async retry(webhookId: number, id: number): Promise<Delivery> {
    const { delivery } = await this.get(webhookId, id)
    if (delivery.status === 'pending' && delivery.nextAttemptAt === waitsForTurn)
      throw new AppError('CONFLICT', 'An earlier delivery of the device is sent first.')
    const enabled = sql`exists (select 1 from webhooks where id = ${webhookId} and enabled = 1)`
    const [changed] = await this.#db.batch([
      this.#db.run(sql`update webhook_deliveries set status = 'pending', finished_at = null,
        next_attempt_at = ${this.#now()} where id = ${id} and ${enabled}`),
      this.#db.run(sql`update webhooks set paused_until = null where id = ${webhookId} and enabled = 1`),
    ])
    if (changed.rowsAffected === 0)
      throw new AppError('CONFLICT', 'The webhook is disabled: it sends nothing.')
    return (await this.get(webhookId, id)).delivery
  }

  /**
   * Writes the event of a test call and claims its delivery, so that no other process sends it.
   * @param claimMs other processes leave it alone for so long.
   */
  async startTest(webhookId: number, eventId: string, claimMs: number): Promise<number> {
    const at = this.#now()
    const [, , rows] = await this.#db.batch([
      this.#db.run(sql`insert into webhook_events (event_id, type, at, data, only_webhook_id)
        values (${eventId}, ${testType}, ${at}, json_object('webhook_id', ${Math.trunc(webhookId)}), ${webhookId})`),
      this.#db.run(sql`update webhook_deliveries set busy_until = ${at + claimMs}
        where event_seq = (select seq from webhook_events where event_id = ${eventId})`),
      this.#db.all<{ id: number }>(sql`select id from webhook_deliveries
        where event_seq = (select seq from webhook_events where event_id = ${eventId})`),
    ])
    const [made] = rows
    if (made === undefined) throw new AppError('NOT_FOUND', 'There is no such webhook.')
    return made.id
  }
}
