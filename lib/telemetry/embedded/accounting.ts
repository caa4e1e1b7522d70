/** SQL of the accounts, and of the ranges that were deleted. */
import { type AccountChange, sumByDevice } from '../account.ts'
import type { TimeRange } from '../store.ts'
import type { NoArgs, Row, Statement, Step } from './connection.ts'
import { isInConflict, isNotDuplicate, type KeyRow, placesOfKeysOfOthers } from './keys.ts'

const accountColumns = 'device_id, received, stored, spooled, rejected, duplicates, last_at'
const insertAccount = `INSERT INTO accounting (${accountColumns})`
const addToAccount = `ON CONFLICT DO UPDATE SET
    received = received + excluded.received,
    stored = stored + excluded.stored,
    spooled = spooled + excluded.spooled,
    rejected = rejected + excluded.rejected,
    duplicates = duplicates + excluded.duplicates,
    warned = warned + excluded.warned,
    last_at = max(last_at, excluded.last_at)`

/** Readings that arrived and are stored, which is all that most batches are. */
const isOnlyStored = (row: Required<AccountChange>): boolean =>
  row.received === row.stored &&
  [row.spooled, row.rejected, row.duplicates, row.warned].every((readings) => readings === 0)

/** Changes of accounts as JSON: one text passes to another thread for a fraction of what objects cost. */
export interface EncodedAccounts {
  /** Whether the changes are of readings that are stored, and of nothing else. */
  readonly onlyStored: boolean
  /** With `onlyStored` an object by device id, otherwise one row for each device. */
  readonly text: string
}

/** Sums the changes by device. Where only two values differ from 0, no others are written: reading them takes most of the time. */
export function encodeAccounts(changes: Iterable<AccountChange>): EncodedAccounts {
  const rows = sumByDevice(changes)
  if (rows.every(isOnlyStored)) {
    const stored = rows.map(({ deviceId, stored, lastArrival }) => [deviceId, [stored, lastArrival]])
    return { onlyStored: true, text: JSON.stringify(Object.fromEntries(stored)) }
  }
  const all = rows.map((row) => [
    ...[row.deviceId, row.received, row.stored, row.spooled],
    ...[row.rejected, row.duplicates, row.lastArrival, row.warned],
  ])
  return { onlyStored: false, text: JSON.stringify(all) }
}

/** Adds changes to the accounts: one statement for all devices of a batch. */
export const addToAccounts = ({ onlyStored, text }: EncodedAccounts): Statement => ({
  sql: onlyStored
    ? `${insertAccount}
        SELECT key, value ->> 0, value ->> 0, 0, 0, 0, value ->> 1 FROM json_each(?) WHERE true ${addToAccount}`
    : `INSERT INTO accounting (${accountColumns}, warned)
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7
        FROM json_each(?) WHERE true ${addToAccount}`,
  args: [text],
})

/**
 * Counts the readings of keyed messages by the state of their keys; those of a request in conflict are rejected.
 * @param rows JSON rows of the messages.
 */
export const countKeyed = (rows: string, into: 'readings' | 'spool'): Statement => ({
  sql: `${insertAccount}
    SELECT device, 0, ${into === 'readings' ? 'sum(fresh), 0' : '0, sum(fresh)'}, sum(refused), sum(NOT fresh AND NOT refused), 0
    FROM (SELECT value ->> 'device' AS device, ${isNotDuplicate('value')} AS fresh, ${isInConflict('value')} AS refused
      FROM json_each(?)) WHERE true
    GROUP BY device ${addToAccount}`,
  args: [rows],
})

/**
 * Turns readings that counted as stored into duplicates where another process recorded the key first.
 * @param foundRecorded gets the places of these readings.
 */
export const countKeysOfOthers = (
  rows: readonly KeyRow[],
  foundRecorded: (places: number[]) => void,
): Step[] => {
  const args = [JSON.stringify(rows)]
  return [
    {
      sql: `${insertAccount}
        SELECT device, 0, -count(*), 0, 0, count(*), 0 FROM (${placesOfKeysOfOthers}) WHERE true
        GROUP BY device ${addToAccount}`,
      args,
    },
    {
      sql: placesOfKeysOfOthers,
      args,
      committed: (found) => foundRecorded(found.map(([place]) => Number(place))),
    },
  ]
}

/** Moves readings of spooled messages from spooled to stored or rejected. @param settled JSON of {@link SettledRow}s. */
export const countSettled = (settled: string): Statement => ({
  sql: `${insertAccount}
    SELECT device_id, 0, sum(count - refused), -sum(count), sum(refused), 0, 0
    FROM (SELECT device_id, count, min(count, value ->> 'rejected') AS refused
      FROM json_each(?) CROSS JOIN spool ON spool.id = value ->> 'id') WHERE true
    GROUP BY device_id ${addToAccount}`,
  args: [settled],
})

/** Moves readings of a spooled message from spooled to stored, as long as the message is as it was read. */
export const countDropped = (
  { id, deviceId, bytes }: { id: number; deviceId: number; bytes: number },
  dropped: number,
): Statement => ({
  sql: `${insertAccount} SELECT ?1, 0, ?2, -?2, 0, 0, 0 FROM spool WHERE id = ?3 AND bytes = ?4 ${addToAccount}`,
  args: [deviceId, dropped, id, bytes],
})

/** How long a deletion is remembered: as long as an SQS queue keeps anything, and a day more, ms. */
const removedMs = 15 * 86_400_000

/** Notes that a range was deleted at this time, ms since the epoch. */
export const noteRemovedRange = (deviceId: number, { from, to }: TimeRange, at: number): Statement[] => [
  { sql: 'DELETE FROM removed WHERE at < ?', args: [at - removedMs] },
  {
    sql: 'INSERT INTO removed (device_id, from_ts, to_ts, at) VALUES (?, ?, ?, ?)',
    args: [deviceId, from, to, at],
  },
]

/** Asks for the ranges of one device that were deleted at this time or later, ms since the epoch. */
export interface RemovalsWanted {
  readonly deviceId: number
  readonly at: number
}

export const ledgerQueries = {
  account: ({ deviceId }: { deviceId: number | undefined }): Statement => ({
    sql: `SELECT total(received), total(stored), total(spooled), total(rejected), total(duplicates), total(warned)
      FROM accounting WHERE ?1 IS NULL OR device_id = ?1`,
    args: [deviceId ?? null],
  }),
  lastArrival: (_args: NoArgs): Statement => ({ sql: 'SELECT coalesce(max(last_at), 0) FROM accounting' }),
  /** Rows of the place in `wanted`, and a range. */
  removedSince: ({ wanted }: { wanted: readonly RemovalsWanted[] }): Statement => ({
    sql: `SELECT wanted.key, from_ts, to_ts FROM json_each(?) wanted
      JOIN removed ON device_id = wanted.value ->> 'deviceId' AND at >= wanted.value ->> 'at'`,
    args: [JSON.stringify(wanted)],
  }),
}

export const toAccount = ([row]: readonly Row[]) => {
  const [received = 0, stored = 0, spooled = 0, rejected = 0, duplicates = 0, warned = 0] = (row ?? []).map(
    Number,
  )
  return { received, stored, spooled, rejected, duplicates, warned }
}
