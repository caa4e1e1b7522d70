/** Readings on their way in: how they are counted, recognised when they come again, and kept while the store is away. */
import type { WriteEntry } from './store.ts'

/** The readings of one message, with what came to nothing. */
export interface Delivery extends WriteEntry {
  /** One for each reading: the same again within 24 h is a duplicate. Undefined for one that nothing tells apart. */
  readonly keys?: readonly (string | undefined)[] | undefined
  /** Readings of the message that were refused; a message that cannot be parsed counts as one. */
  readonly rejected: number
}

/** What became of the readings of a message that were not refused. All three mean that it must not be sent again. */
export interface Receipt {
  readonly stored: number
  /** Durably spooled: the store gets them when it is back. */
  readonly queued: number
  /** Recognised by their keys. */
  readonly duplicates: number
}

/** Counted in readings, since the first start: received = stored + spooled + rejected + duplicates. */
export interface Account {
  readonly received: number
  /** Taken by the store; deletion and retention do not lower it. */
  readonly stored: number
  /** Waiting in the spool now. */
  readonly spooled: number
  readonly rejected: number
  readonly duplicates: number
}

/** A change of the account of a device, each number added to what is there. */
export interface AccountChange extends Partial<Account> {
  readonly deviceId: number
}

export interface SpoolState {
  /** Readings that wait. */
  readonly depth: number
  readonly bytes: number
  /** Milliseconds since the epoch; undefined when nothing waits. */
  readonly oldestAt: number | undefined
}

export interface Intake {
  /**
   * Resolves when every reading is durable, in the store or in the spool, and counted.
   * @throws {AppError} UNAVAILABLE when neither could be done; nothing is counted then.
   */
  take(delivery: Delivery): Promise<Receipt>
  /** For moves between the parts of an account, and for messages that never became readings. */
  count(change: AccountChange): Promise<void>
  /** Of one device, or of all. */
  account(deviceId?: number): Promise<Account>
  /** Whether readings are taken while the store is away. */
  keeps(): Promise<boolean>
  /** Undefined where there is no spool. */
  spool(): Promise<SpoolState | undefined>
  /** Deletes spooled readings of a range; they count as stored. */
  dropSpooled(deviceId: number, range: { readonly from: bigint; readonly to: bigint }): Promise<void>
  /** The newest arrival that was counted, ms since the epoch; 0 for none. */
  lastArrival(): Promise<number>
  close(): Promise<void>
}

/** An account as operators see it. @param exact false where readings wait in a queue that cannot be counted. */
export const accountView = (account: Account, exact: boolean) => ({ ...account, exact })
