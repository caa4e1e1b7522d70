/** The accounting of readings. In every account: received = stored + spooled + rejected + duplicates. */

/** Counted in readings, since the first start. */
export interface Account {
  readonly received: number
  /** Taken by the store; deletion and retention do not lower it. */
  readonly stored: number
  /** Waiting in the spool now. */
  readonly spooled: number
  readonly rejected: number
  readonly duplicates: number
  /** Readings in which something was left out or changed; the other numbers count them too. */
  readonly warned: number
}

/** A change of the account of one device: each number is added to the number of the account. */
export interface AccountChange extends Partial<Omit<Account, 'warned'>> {
  readonly deviceId: number
  readonly warned?: number | undefined
  /** The newest arrival that the change counts, ms since the epoch. */
  readonly lastArrival?: number | undefined
}

/** An account as operators see it. @param exact false where readings wait in a queue that cannot be counted. */
export const accountView = (account: Account, exact: boolean) => ({ ...account, exact })

/** What an account has received and does not explain: 0 unless something was lost or counted twice. */
export const differenceOf = ({ received, stored, spooled, rejected, duplicates }: Account): number =>
  received - stored - spooled - rejected - duplicates

/** Adds up the changes of a batch: one for each device, in the order in which the devices first appear. */
export function sumByDevice(changes: Iterable<AccountChange>): AccountChange[] {
  const sums = new Map<number, { -readonly [K in keyof AccountChange]: AccountChange[K] }>()
  for (const change of changes) {
    const sum = sums.get(change.deviceId)
    if (sum === undefined) {
      sums.set(change.deviceId, { ...change })
      continue
    }
    sum.received = (sum.received ?? 0) + (change.received ?? 0)
    sum.stored = (sum.stored ?? 0) + (change.stored ?? 0)
    sum.spooled = (sum.spooled ?? 0) + (change.spooled ?? 0)
    sum.rejected = (sum.rejected ?? 0) + (change.rejected ?? 0)
    sum.duplicates = (sum.duplicates ?? 0) + (change.duplicates ?? 0)
    if (change.warned !== undefined) sum.warned = (sum.warned ?? 0) + change.warned
    sum.lastArrival = Math.max(sum.lastArrival ?? 0, change.lastArrival ?? 0)
  }
  return [...sums.values()]
}
