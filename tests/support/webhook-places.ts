/** Webhooks on a registry, with a clock that a test moves. */
import { sql } from 'drizzle-orm'
import { createLog, type Log } from '../../lib/log.ts'
import type { Registry, RegistryDb } from '../../lib/registry/db.ts'
import { AddressRules, resolveBySystem } from '../../lib/webhooks/address-rules.ts'
import { DeliveryLog } from '../../lib/webhooks/delivery-log.ts'
import { DeliveryQueue } from '../../lib/webhooks/delivery-queue.ts'
import { Dispatcher, type DispatcherOptions } from '../../lib/webhooks/dispatcher.ts'
import { Sender } from '../../lib/webhooks/sender.ts'
import { WebhookSecrets } from '../../lib/webhooks/signature.ts'
import { WebhookStore } from '../../lib/webhooks/webhook-store.ts'

export const signingKey = 'signing-key-of-the-tests-0123456789'

/** A clock that goes on with the real one, ahead of it by what it was moved. */
export class MovedClock {
  #ahead = 0
  readonly now = (): number => Date.now() + this.#ahead
  /** @param ms forward. */
  move(ms: number): void {
    this.#ahead += ms
  }
}

export interface WebhookPlace {
  readonly db: RegistryDb
  readonly clock: MovedClock
  readonly store: WebhookStore
  readonly deliveries: DeliveryLog
  readonly queue: DeliveryQueue
  readonly secrets: WebhookSecrets
  /** A further one, as another process has it. */
  dispatcher(options?: Partial<DispatcherOptions>): Dispatcher
  /** @returns its id. */
  device(name: string): Promise<number>
  /** An event of a device: the database tells the webhooks. */
  happen(deviceId: number, kind?: 'registered' | 'online' | 'offline', at?: number): Promise<void>
}

export function webhookPlace(
  { db }: Pick<Registry, 'db'>,
  { clock = new MovedClock(), log = createLog('silent') }: { clock?: MovedClock; log?: Log } = {},
): WebhookPlace {
  const { now } = clock
  const queue = new DeliveryQueue(db, now)
  const secrets = new WebhookSecrets(signingKey)
  const rules = new AddressRules(['127.0.0.1'])
  return {
    db,
    clock,
    store: new WebhookStore(db, now),
    deliveries: new DeliveryLog(db, now),
    queue,
    secrets,
    dispatcher: (options = {}) =>
      new Dispatcher({
        queue,
        sender: new Sender({ rules, resolve: resolveBySystem, now, timeoutMs: 2000 }),
        secrets,
        log,
        now,
        ...options,
      }),
    async device(name) {
      const [row] = await db.all<{ id: number }>(sql`
        insert into devices (name, device_type, created_at, updated_at) values (${name}, 'climate', 0, 0) returning id`)
      return row?.id ?? 0
    },
    async happen(deviceId, kind = 'online', at = now()) {
      await db.run(
        sql`insert into events (device_id, kind, detail, at) values (${deviceId}, ${kind}, '{}', ${at})`,
      )
    },
  }
}
