/** A spool in the embedded database, for readings that wait for a store elsewhere. */
import type { AppError } from '../../errors.ts'
import type { Delivery, Outcome } from '../delivery.ts'
import type { DrainableSpool, SpooledMessage, SpoolState } from '../spool.ts'
import type { TimeRange } from '../store.ts'
import { unavailable } from '../unavailable.ts'
import type { EmbeddedDatabase } from './database.ts'
import { readRows } from './message.ts'

export interface EmbeddedSpoolOptions {
  /** Bytes that may wait; beyond it nothing is taken. */
  readonly maxBytes: number
  /** Longest time that the oldest message may wait; beyond it nothing is taken, ms. */
  readonly maxAgeMs: number
  /** Milliseconds since the epoch. */
  readonly now?: (() => number) | undefined
}

/** Time that a size that was read may decide whether the spool is full, ms. */
const sizeAgeMs = 250

/** Seconds after which a sender may try again when the spool is full. */
const fullRetryAfterS = 30

export class EmbeddedSpool implements DrainableSpool {
  readonly #database: EmbeddedDatabase
  readonly #options: EmbeddedSpoolOptions
  #known: SpoolState = { depth: 0, bytes: 0, oldestAt: undefined }
  /** By performance.now(). */
  #knownAt = Number.NEGATIVE_INFINITY

  constructor(database: EmbeddedDatabase, options: EmbeddedSpoolOptions) {
    this.#database = database
    this.#options = options
  }

  async put(batch: readonly Delivery[]): Promise<(Outcome | AppError)[]> {
    if (await this.accepts().catch(() => false)) return this.#database.writer.deliver('spool', batch)
    return batch.map(() => unavailable(undefined, fullRetryAfterS))
  }

  async accepts(): Promise<boolean> {
    if (performance.now() - this.#knownAt >= sizeAgeMs) await this.state()
    const { maxBytes, maxAgeMs, now = Date.now } = this.#options
    const { bytes, oldestAt } = this.#known
    return bytes < maxBytes && (oldestAt === undefined || now() - oldestAt <= maxAgeMs)
  }

  async state(): Promise<SpoolState> {
    const askedAt = performance.now()
    const [[depth, bytes, oldestAt] = []] = await this.#database.query('spoolState', {})
    this.#known = {
      depth: Number(depth ?? 0),
      bytes: Number(bytes ?? 0),
      oldestAt: oldestAt === null || oldestAt === undefined ? undefined : Number(oldestAt),
    }
    this.#knownAt = askedAt
    return this.#known
  }

  async dropRange(deviceId: number, { from, to }: TimeRange): Promise<void> {
    await this.#database.writer.change('dropSpooled', { deviceId, from, to })
  }

  async oldest(limits: { maxMessages: number; maxBytes: number }): Promise<SpooledMessage[]> {
    const rows = await this.#database.query('oldestSpooled', limits)
    return rows.map(([id, deviceId, receivedAt, text]) => ({
      id: Number(id),
      entry: { ...readRows(text as string), deviceId: Number(deviceId), receivedAt: Number(receivedAt) },
    }))
  }

  async settle(ids: readonly number[], rejected?: ReadonlyMap<number, number>): Promise<void> {
    if (ids.length === 0) return
    const settled = ids.map((id) => ({ id, rejected: rejected?.get(id) ?? 0 }))
    await this.#database.writer.change('settleSpooled', { settled })
  }
}
