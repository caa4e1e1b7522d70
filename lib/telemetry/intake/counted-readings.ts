/** Counts what became of readings, for the metrics of deployed functions. */
import type { Count } from '../../counts.ts'
import { AppError } from '../../errors.ts'
import type { Outcome } from '../delivery.ts'
import type { Warning } from '../reading.ts'
import { type ArrivedDelivery, type BatchObserver, rejectedOf } from './batch-observer.ts'

export class CountedReadings implements BatchObserver {
  readonly #count: Count

  constructor(count: Count) {
    this.#count = count
  }

  batchEnded(batch: readonly ArrivedDelivery[], outcomes: readonly (Outcome | AppError)[]): void {
    this.#count('MessagesReceived', batch.length)
    for (const [at, outcome] of outcomes.entries()) {
      if (outcome instanceof AppError) {
        this.#count('MessagesFailed')
        continue
      }
      const { delivery } = batch[at] as ArrivedDelivery
      this.#count('ReadingsStored', outcome.stored)
      this.#count('ReadingsSpooled', outcome.queued)
      this.#count('ReadingsDuplicate', outcome.duplicates)
      this.#count('ReadingsRejected', rejectedOf(delivery, outcome))
    }
  }

  messageWarned(warnings: readonly Warning[]): void {
    this.#count('ReadingWarnings', warnings.length)
  }
}
