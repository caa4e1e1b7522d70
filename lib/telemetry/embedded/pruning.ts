/** Deletes old readings and old keys from time to time. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../../log.ts'
import type { EmbeddedDatabase } from './database.ts'

export interface PruningOptions {
  readonly log: Log
  /** Age at which readings are deleted, ms; 0 keeps them for ever. */
  readonly retentionMs: number
  readonly pruneEveryMs?: number | undefined
  /** Milliseconds since the epoch. */
  readonly now?: (() => number) | undefined
}

/** How long a key is remembered, ms. */
const keyLifetimeMs = 86_400_000

/** Pause between slices, in which writes have their turn, ms. */
const pauseMs = 50

export class Pruning {
  readonly #database: EmbeddedDatabase
  readonly #options: PruningOptions
  readonly #timer: NodeJS.Timeout
  #running: Promise<void> | undefined

  constructor(database: EmbeddedDatabase, options: PruningOptions) {
    this.#database = database
    this.#options = options
    this.#timer = setInterval(() => this.#start(), options.pruneEveryMs ?? 3_600_000)
    this.#timer.unref()
    this.#start()
  }

  /** Starts no further round. Resolves when a running one has ended, which a closed database does at once. */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    await this.#running
  }

  #start(): void {
    this.#running ??= this.#prune()
      .catch((error) => {
        if (!this.#database.closed) this.#options.log.warn('old readings could not be deleted', { error })
      })
      .finally(() => {
        this.#running = undefined
      })
  }

  async #prune(): Promise<void> {
    const { retentionMs, now = Date.now } = this.#options
    const oldestKey = now() - keyLifetimeMs
    while (
      !this.#database.closed &&
      (await this.#database.writer.change('forgetKeys', { before: oldestKey }))
    )
      await sleep(pauseMs)
    if (retentionMs === 0) return
    const before = BigInt(now() - retentionMs) * 1_000_000n
    while (!this.#database.closed && (await this.#database.writer.change('prune', { before })))
      await sleep(pauseMs)
  }
}
