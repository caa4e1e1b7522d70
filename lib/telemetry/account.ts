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
export function sumByDevice(changes: Iterable<AccountChange>): Required<AccountChange>[] {
  const sums = new Map<number, { -readonly [K in keyof AccountChange]-?: number }>()
  for (const change of changes) {
    const { deviceId } = change
    let sum = sums.get(deviceId)
    if (sum === undefined) {
      sum = {
        deviceId,
        received: 0,
        stored: 0,
        spooled: 0,
        rejected: 0,
        duplicates: 0,
        warned: 0,
        lastArrival: 0,
      }
      sums.set(deviceId, sum)
    }
    sum.received += change.received ?? 0
    sum.stored += change.stored ?? 0
    sum.spooled += change.spooled ?? 0
    sum.rejected += change.rejected ?? 0
    sum.duplicates += change.duplicates ?? 0
    sum.warned += change.warned ?? 0
    sum.lastArrival = Math.max(sum.lastArrival, change.lastArrival ?? 0)
  }
  return [...sums.values()]
}
