/** Deletes old readings and old keys, when a schedule says so. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { EmbeddedDatabase } from './database.ts'

export interface PruningOptions {
  /** Age at which readings are deleted, ms; 0 keeps them for ever. */
  readonly retentionMs: number
  /** Milliseconds since the epoch. */
  readonly now?: (() => number) | undefined
  /** Readings that one transaction of a large deletion deletes; 5000 by default. */
  readonly removalSlice?: number | undefined
}

/** How long a key is remembered, ms. */
const keyLifetimeMs = 86_400_000

/** The longest pause between slices, ms. */
const longestPauseMs = 50

export class Pruning {
  readonly #database: EmbeddedDatabase
  readonly #options: PruningOptions
  /** Where the last run had to end: the next one does not begin with the same devices again. */
  #after = 0

  constructor(database: EmbeddedDatabase, options: PruningOptions) {
    this.#database = database
    this.#options = options
  }

  /**
   * @param until by performance.now(): a run that is not ready by then goes on with the next call.
   * @returns whether everything is deleted that is too old.
   * @throws {AppError} UNAVAILABLE
   */
  async run(until: number): Promise<boolean> {
    const { writer } = this.#database
    const { retentionMs, now = Date.now } = this.#options
    const oldestKey = now() - keyLifetimeMs
    if (!(await this.#inSlices(until, () => writer.change('forgetKeys', { before: oldestKey })))) return false
    if (retentionMs === 0) return true
    const before = BigInt(now() - retentionMs) * 1_000_000n
    const isReady = await this.#inSlices(until, async () => {
      const place = await writer.change('prune', { before, after: this.#after })
      this.#after = place?.after ?? 0
      return place !== undefined
    })
    return isReady
  }

  /** @param deleteSome tells whether there may be more. @returns whether it came to the end. */
  async #inSlices(until: number, deleteSome: () => Promise<boolean>): Promise<boolean> {
    while (!this.#database.closed && performance.now() < until) {
      const began = performance.now()
      if (!(await deleteSome())) return true
      // Writes have as much of the time as the deletions.
      await sleep(Math.min(performance.now() - began, longestPauseMs))
    }
    return false
  }
}
