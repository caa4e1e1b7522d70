/** The interface of a spool: a durable place for readings that the store cannot take now. */
import type { AppError } from '../errors.ts'
import type { Delivery, Outcome } from './delivery.ts'
import type { TimeRange, WriteEntry } from './store.ts'

export interface SpoolState {
  /** Waiting readings; of a queue that cannot count readings, waiting messages. */
  readonly depth: number
  readonly bytes: number
  /** When the oldest message was put into the spool, ms since the epoch; undefined when nothing waits or it is unknown. */
  readonly oldestAt: number | undefined
}

/** Age of the oldest message in a spool, s; 0 when nothing waits or it is unknown. */
export const spoolAgeS = ({ oldestAt }: SpoolState): number =>
  oldestAt === undefined ? 0 : Math.max(0, Math.round((Date.now() - oldestAt) / 1000))

/** A spool as operators see it. */
export const spoolView = (state: SpoolState) => ({
  depth: state.depth,
  oldest_age_s: state.oldestAt === undefined ? null : spoolAgeS(state),
})

/** Promises durability and at-least-once delivery, and no order: every reading carries its time. */
export interface Spool {
  /**
   * Resolves when the deliveries are durable: one outcome per delivery, in order, or the error UNAVAILABLE of a delivery
   * that the spool could not take.
   */
  put(batch: readonly Delivery[]): Promise<readonly (Outcome | AppError)[]>
  /** Whether the spool takes deliveries now. */
  accepts(): Promise<boolean>
  /** @throws {AppError} UNAVAILABLE */
  state(): Promise<SpoolState>
  /** Drops the waiting readings of a range; they count as stored. @throws {AppError} UNAVAILABLE */
  dropRange(deviceId: number, range: TimeRange): Promise<void>
}

/** A message that waits in a spool. */
export interface SpooledMessage {
  readonly id: number
  readonly entry: WriteEntry
}

/** A spool that this process empties itself. The messages of an SQS queue come back as events instead. */
export interface DrainableSpool extends Spool {
  /** The oldest messages, at least one when any waits. */
  oldest(limits: { maxMessages: number; maxBytes: number }): Promise<SpooledMessage[]>
  /**
   * Takes messages out of the spool. Their readings count as stored from now on, except as many as `rejected` says. A message
   * that another process has settled before is not counted again.
   */
  settle(ids: readonly number[], rejected?: ReadonlyMap<number, number>): Promise<void>
}
