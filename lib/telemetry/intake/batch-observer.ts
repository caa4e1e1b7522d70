/** Looks at batches when they are answered: counters, metrics and live updates learn here what became of readings. */
import type { AppError } from '../../errors.ts'
import type { Delivery, Door, Outcome } from '../delivery.ts'
import type { Warning } from '../reading.ts'

/** A delivery that was handed to the intake. */
export interface ArrivedDelivery {
  readonly delivery: Delivery
  readonly door: Door | undefined
  /** When it was handed over, by `performance.now()`. */
  readonly since: number
}

/** Every message passes an observer: it must be short, and must not throw. */
export interface BatchObserver {
  /**
   * Called once for each batch.
   * @param outcomes one per delivery; an error: nothing of it is stored or counted, and it comes again.
   * @param began when the batch was begun to be written, by `performance.now()`.
   */
  batchEnded(
    batch: readonly ArrivedDelivery[],
    outcomes: readonly (Outcome | AppError)[],
    began: number,
  ): void
  /** Called for each message with warnings. */
  messageWarned?(warnings: readonly Warning[]): void
}

/** Readings of a delivery by what became of them. */
export const rejectedOf = (delivery: Delivery, { stored, queued, duplicates }: Outcome): number =>
  // A reading that is none of the three was refused by the store.
  delivery.rejected + delivery.readings.length - stored - queued - duplicates
