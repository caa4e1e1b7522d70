/**
 * Warnings and dead letters of each device, counted by the time while a rule asks for them. Warnings are counted by triggers in
 * the transaction that counts them in the account; dead letters stand in the registry, and a sweep brings their numbers.
 */
import type { NoArgs, Query, Row, Statement } from './connection.ts'

/** Counts of ten seconds are one row, ms. */
const bucketMs = 10_000

const bucketOf = (ms: string) => `${ms} - ${ms} % ${bucketMs}`

const countWarned = (change: string, before: string) => `
  CREATE TRIGGER IF NOT EXISTS alert_warned_${change.toLowerCase().replace(/ .*/, '')} AFTER ${change} ON accounting
    WHEN new.warned > ${before} AND EXISTS (SELECT 1 FROM alert_rules WHERE kind = 'warnings' AND enabled) BEGIN
    INSERT INTO alert_counts VALUES (new.device_id, 'warnings', ${bucketOf('new.last_at')}, new.warned - ${before})
      ON CONFLICT DO UPDATE SET count = count + excluded.count;
  END;`

/** They come after the tables of rules and accounts. */
export const alertCountTables = `
  CREATE TABLE IF NOT EXISTS alert_counts (
    device_id INTEGER NOT NULL,
    kind TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (device_id, kind, at_ms)
  ) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS alert_counts_newest ON alert_counts (kind, at_ms);
  CREATE TABLE IF NOT EXISTS alert_letters (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    last_id INTEGER NOT NULL
  );
  ${countWarned('INSERT', '0')}
  ${countWarned('UPDATE OF warned', 'old.warned')}`

/** Dead letters of one device that were received at about the same time. */
export interface LetterCount {
  readonly device: number
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly count: number
}

export const alertCountQueries = {
  /** One row of the newest dead letter that is counted; none while no rule asks for them. */
  countedLetters: (_args: NoArgs): Query => ({
    sql: 'SELECT last_id FROM alert_letters',
    convert: (rows): Row[] => rows.map(([id]) => [Number(id)]),
  }),
}

/**
 * Adds dead letters behind `from` up to `to`, unless another process has added them. @param from undefined to begin at `to`,
 * without counts.
 */
export function countLetters(
  from: number | undefined,
  to: number,
  counts: readonly LetterCount[],
): Statement[] {
  if (from === undefined) return [{ sql: 'INSERT OR IGNORE INTO alert_letters VALUES (1, ?)', args: [to] }]
  const at = bucketOf("(value ->> 'at')")
  return [
    {
      sql: `INSERT INTO alert_counts SELECT value ->> 'device', 'dead_letters', ${at}, sum(value ->> 'count')
        FROM json_each(?) WHERE (SELECT last_id FROM alert_letters) = ? GROUP BY 1, 3
        ON CONFLICT DO UPDATE SET count = count + excluded.count`,
      args: [JSON.stringify(counts), from],
    },
    { sql: 'UPDATE alert_letters SET last_id = ? WHERE last_id = ?', args: [to, from] },
  ]
}

/** No rule asks for dead letters any more: those until the next one does are not counted. */
export const stopCountingLetters: Statement = { sql: 'DELETE FROM alert_letters' }

/** Deletes some counts of a kind before a time, ms since the epoch; it returns a row for each. */
export const pruneAlertCounts = (kind: string, before: number, most: number): Statement => ({
  sql: `DELETE FROM alert_counts WHERE (device_id, kind, at_ms) IN (
    SELECT device_id, kind, at_ms FROM alert_counts WHERE kind = ? AND at_ms < ? LIMIT ?) RETURNING 1`,
  args: [kind, before, most],
})
