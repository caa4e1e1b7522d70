/** Webhooks in the registry. */
import { desc, eq, getTableColumns, lt, sql } from 'drizzle-orm'
import { AppError } from '../errors.ts'
import type { RegistryDb } from '../registry/db.ts'
import { expandOutbox, expansionOf } from '../registry/webhook-outbox.ts'
import { webhookDeliveries, webhooks } from '../registry/webhook-tables.ts'
import type { Webhook } from './webhook.ts'

export interface WebhookFields {
  readonly name: string
  readonly url: string
  readonly events: readonly string[]
  readonly enabled: boolean
}

/** Fields that are undefined stay as they are. */
export type WebhookChange = { readonly [Name in keyof WebhookFields]?: WebhookFields[Name] | undefined }

/** Each event is compared with all of them. */
const maxWebhooks = 100

const pending = sql<number>`(select count(*) from ${webhookDeliveries}
  where webhook_id = ${webhooks}.id and finished_at is null)`

type Row = Omit<Webhook, 'events'> & { readonly events: string }

const toWebhook = (row: Row): Webhook => ({ ...row, events: JSON.parse(row.events) as string[] })

const notFound = () => new AppError('NOT_FOUND', 'There is no such webhook.')

/** The statement that ends what a webhook, which is disabled now, has not sent. @param at milliseconds since the epoch. */
export const cancelPending = (webhookId: number, at: number) =>
  sql`update webhook_deliveries set status = 'cancelled', finished_at = ${at}, busy_until = null
    where webhook_id = ${webhookId} and finished_at is null`

export class WebhookStore {
  readonly #db: RegistryDb
  readonly #now: () => number

  /** @param now milliseconds since the epoch. */
  constructor(db: RegistryDb, now: () => number = Date.now) {
    this.#db = db
    this.#now = now
  }

  /** @throws {AppError} CONFLICT when there are 100 already. */
  async create({ name, url, events, enabled }: WebhookFields): Promise<Webhook> {
    const at = this.#now()
    await expandOutbox(this.#db)
    // What has happened before is not for it. One statement counts and writes: of requests at the same time, too, none is one
    // too many.
    const [, , [made]] = await this.#db.batch([
      ...expansionOf(this.#db),
      this.#db.all<{ id: number }>(sql`
        insert into webhooks (name, url, events, enabled, created_at, updated_at)
        select ${name}, ${url}, ${JSON.stringify(events)}, ${enabled ? 1 : 0}, ${at}, ${at}
        where (select count(*) from webhooks) < ${maxWebhooks} returning id`),
    ])
    if (made === undefined)
      throw new AppError('CONFLICT', `There are ${maxWebhooks} webhooks already: delete some.`)
    return this.get(made.id)
  }

  /** Newest first. @param before only those with a smaller id. */
  async list({ limit, before }: { limit: number; before?: number | undefined }): Promise<Webhook[]> {
    const rows = await this.#select()
      .where(before === undefined ? undefined : lt(webhooks.id, before))
      .orderBy(desc(webhooks.id))
      .limit(limit)
    return rows.map(toWebhook)
  }

  /** @throws {AppError} NOT_FOUND */
  async get(id: number): Promise<Webhook> {
    const [found] = await this.#select().where(eq(webhooks.id, id))
    if (found === undefined) throw notFound()
    return toWebhook(found)
  }

  /**
   * Changes the fields that are given. One that is disabled forgets what it has not sent; a new address or a new start begins
   * without failures.
   * @throws {AppError} NOT_FOUND
   */
  async update(id: number, fields: WebhookChange): Promise<Webhook> {
    const at = this.#now()
    const { name, url, events, enabled } = fields
    const change = this.#db
      .update(webhooks)
      .set({
        updatedAt: at,
        ...(name !== undefined && { name }),
        ...(url !== undefined && { url }),
        ...(events !== undefined && { events: JSON.stringify(events) }),
        ...(enabled !== undefined && { enabled, disabledReason: null }),
        ...((url !== undefined || enabled === true) && { failures: 0, pausedUntil: null }),
      })
      .where(eq(webhooks.id, id))
    await expandOutbox(this.#db)
    // What has happened before goes to those who asked for it then.
    await this.#db.batch([
      ...expansionOf(this.#db),
      change,
      ...(enabled === false ? [this.#db.run(cancelPending(id, at))] : []),
    ])
    return this.get(id)
  }

  /** Its deliveries go, too. @throws {AppError} NOT_FOUND */
  async delete(id: number): Promise<Webhook> {
    const webhook = await this.get(id)
    await this.#db.delete(webhooks).where(eq(webhooks.id, id))
    return webhook
  }

  /**
   * Begins a new version of the secret. @param overlapMs the one before signs, too, for so long.
   * @throws {AppError} NOT_FOUND
   */
  async rotateSecret(id: number, overlapMs: number): Promise<Webhook> {
    const at = this.#now()
    await this.#db
      .update(webhooks)
      .set({
        secretVersion: sql`${webhooks.secretVersion} + 1`,
        previousSecretUntil: overlapMs === 0 ? null : at + overlapMs,
        updatedAt: at,
      })
      .where(eq(webhooks.id, id))
    return this.get(id)
  }

  #select() {
    return this.#db.select({ ...getTableColumns(webhooks), pending }).from(webhooks)
  }
}
