/** Where the deliveries of a batch go that the store did not take: into the spool, if there is one that takes them. */
import { AppError } from '../../errors.ts'
import type { Log } from '../../log.ts'
import type { Delivery, Outcome } from '../delivery.ts'
import type { Spool } from '../spool.ts'
import { unavailable } from '../unavailable.ts'
import type { Batching } from './batch-queue.ts'
import type { SpoolDrain } from './spool-drain.ts'

/** A delivery that could not be stored, with the times under which the spool has to keep its readings. */
export interface Unstored {
  readonly error: AppError
  readonly delivery: Delivery
}

/** Stores and counts batches: the embedded store in one transaction, a store elsewhere in steps. */
export interface BatchWriter extends Batching {
  /** One outcome per delivery, in order, or why nothing of the delivery is stored and counted. Never rejects. */
  deliver(batch: readonly Delivery[]): Promise<readonly (Outcome | AppError | Unstored)[]>
}

export interface SpoolFallbackOptions {
  readonly writer: BatchWriter
  readonly log: Log
  /** Takes deliveries while the store is unavailable. */
  readonly spool?: Spool | undefined
  /** Empties the spool; only where this process does that. */
  readonly drain?: SpoolDrain | undefined
}

export class SpoolFallback {
  readonly #options: SpoolFallbackOptions

  constructor(options: SpoolFallbackOptions) {
    this.#options = options
  }

  /** Whether older readings wait in the spool. */
  get hasBacklog(): boolean {
    return this.#options.drain?.hasBacklog === true
  }

  /** Puts deliveries with readings into the spool, behind those that wait there; the others are only counted. */
  async writeAndSpool(batch: readonly Delivery[]): Promise<readonly (Outcome | AppError)[]> {
    const follows = batch.map(({ readings }) => readings.length > 0)
    const uncounted = batch.filter((_, at) => !follows[at])
    const counted = uncounted.length === 0 ? [] : await this.#options.writer.deliver(uncounted)
    const spooled = await this.#spoolAll(batch.filter((_, at) => follows[at]))
    const [fromSpool, fromStore] = [spooled.values(), counted.values()]
    return follows.map((follow) => {
      const outcome = (follow ? fromSpool : fromStore).next().value ?? unavailable()
      return outcome instanceof AppError || !('error' in outcome) ? outcome : outcome.error
    })
  }

  /** Puts into the spool what the store could not take, where it may; the rest keeps its outcome. */
  async spoolUnstored(
    batch: readonly { readonly delivery: Delivery; readonly maySpool: boolean }[],
    outcomes: readonly (Outcome | AppError | Unstored)[],
  ): Promise<readonly (Outcome | AppError)[]> {
    const results: (Outcome | AppError)[] = []
    const unstored: { at: number; delivery: Delivery }[] = []
    for (const [at, { delivery, maySpool }] of batch.entries()) {
      const outcome = outcomes[at] ?? unavailable()
      if (outcome instanceof AppError || 'error' in outcome) {
        const failed = outcome instanceof AppError ? { error: outcome, delivery } : outcome
        results.push(failed.error)
        const hasReadings = delivery.readings.length > 0
        if (maySpool && hasReadings && failed.error.code === 'UNAVAILABLE')
          unstored.push({ at, delivery: failed.delivery })
      } else results.push(outcome)
    }
    this.#logFailure(results)
    const spooled = await this.#spoolAll(unstored.map(({ delivery }) => delivery))
    for (const [n, { at }] of unstored.entries()) results[at] = spooled[n] ?? (results[at] as AppError)
    return results
  }

  async #spoolAll(batch: readonly Delivery[]): Promise<readonly (Outcome | AppError)[]> {
    const { spool, drain, log } = this.#options
    if (spool === undefined || batch.length === 0) return []
    const outcomes = await spool.put(batch)
    const failed = outcomes.filter((outcome) => outcome instanceof AppError)
    const [first] = failed
    if (first !== undefined)
      log.error('readings could not be stored', { messages: failed.length, error: first.cause ?? first })
    if (outcomes.some((outcome) => !(outcome instanceof AppError) && outcome.queued > 0)) drain?.noteBacklog()
    return outcomes
  }

  #logFailure(results: readonly (Outcome | AppError)[]): void {
    const failed = results.filter((result) => result instanceof AppError)
    const [first] = failed
    if (first === undefined) return
    const { spool, log } = this.#options
    const about = { messages: failed.length, error: first.cause ?? first }
    if (spool === undefined) log.error('readings could not be stored', about)
    else log.warn('the telemetry store is unavailable, the spool is tried', about)
  }
}
