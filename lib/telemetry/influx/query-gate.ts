/** Bounds the queries that run at the same time, and gives their failures one form. */
import { AppError } from '../../errors.ts'
import type { Log } from '../../log.ts'
import { unavailable } from '../unavailable.ts'
import { unavailableFor } from './faults.ts'

export class QueryGate {
  readonly #log: Log
  readonly #maxQueries: number
  #running = 0

  /** @param maxQueries queries that may run at the same time; another one is unavailable at once. */
  constructor(log: Log, maxQueries: number) {
    this.#log = log
    this.#maxQueries = maxQueries
  }

  /** @throws {AppError} UNAVAILABLE, or what `query` throws as an AppError. */
  async run(query: () => Promise<void>): Promise<void> {
    if (this.#running >= this.#maxQueries) throw unavailable()
    this.#running += 1
    try {
      await query()
    } catch (error) {
      if (error instanceof AppError) throw error
      const failure = unavailableFor(error)
      this.#log.error('a telemetry query failed', { error: failure.cause })
      throw failure
    } finally {
      this.#running -= 1
    }
  }
}
