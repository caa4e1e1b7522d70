/** SQL that deletes the readings of a range, as a whole or a slice of it, and keeps `latest` correct. */
import type { Deletion } from '../deletion.ts'
import type { TimeRange } from '../store.ts'
import type { Statement } from './connection.ts'
import { setLatest, valueAsJson } from './latest.ts'
import { newestTime } from './readings.ts'

/** Readings before the range in which most fields are found again that lose their newest value. */
const nearReadings = 2000

/**
 * The statements of one transaction. Their arguments: `?1` the device, `?2` and `?3` the range.
 * @param end SQL of the time before which readings are deleted: `?3`, or less for a slice.
 */
const statements = (end: string): string[] => {
  const inRange = `device_id = ?1 AND ts >= ?2 AND ts < ${end}`
  /** Fields whose newest value is about to be deleted. */
  const lost = `SELECT field FROM latest WHERE ${inRange}`
  const near = `(SELECT ts FROM readings WHERE device_id = ?1 AND ts < ?2 ORDER BY ts DESC LIMIT 1 OFFSET ${nearReadings})`
  // Without a lost field there is nothing to join, so that no reading is looked at. With max(), the other columns are those of
  // the row that has the maximum.
  const findAgain = (where: string) => `${setLatest}
    SELECT r.device_id, f.key, max(r.ts), ${valueAsJson('r.fields')}
    FROM (SELECT 1 WHERE EXISTS (${lost})) CROSS JOIN readings AS r CROSS JOIN json_each(r.fields) AS f
    WHERE r.device_id = ?1 AND r.ts < ?2 AND ${where} AND f.key IN (${lost}) GROUP BY f.key
    ON CONFLICT DO UPDATE SET ts = excluded.ts, type = excluded.type, value = excluded.value`
  return [
    // The newest reading has no rows of its own: it gets them when it goes.
    `${setLatest}
      SELECT n.device_id, f.key, n.ts, ${valueAsJson('n.fields')} FROM readings AS n CROSS JOIN json_each(n.fields) AS f
      WHERE n.device_id = ?1 AND n.ts = ${newestTime('?1')} AND n.ts >= ?2 AND n.ts < ${end}
      ON CONFLICT DO UPDATE SET ts = excluded.ts, type = excluded.type, value = excluded.value`,
    findAgain(`r.ts >= coalesce(${near}, 0)`),
    findAgain(`r.ts < coalesce(${near}, 0)`),
    `DELETE FROM latest WHERE ${inRange}`,
    `DELETE FROM readings WHERE ${inRange}`,
  ]
}

const whole = statements('?3')

/** Deletes all readings of a range. */
export const deleteRange = (deviceId: number, { from, to }: TimeRange): Statement[] =>
  whole.map((sql) => ({ sql, args: [deviceId, from, to] }))

/** Readings of one slice: about 50 ms. */
export const removalSlice = 5000

/** @param most a whole number of readings, which becomes part of the SQL. */
const slice = (most: number) =>
  statements(`iif(EXISTS (SELECT 1 FROM deletions WHERE id = ?4 AND finished_at IS NULL),
  coalesce((SELECT ts FROM readings WHERE device_id = ?1 AND ts >= ?2 AND ts < ?3
  ORDER BY ts LIMIT 1 OFFSET ${most}), ?3), ?2)`)

/**
 * Deletes the oldest readings of a range, at most so many; the last statement is the one that deletes readings. Where another process
 * has finished the deletion meanwhile they delete nothing: readings that came after its end stay.
 */
export const deleteOldest = (
  { id, deviceId, range: { from, to } }: Pick<Deletion, 'id' | 'deviceId' | 'range'>,
  most: number,
): Statement[] => slice(Math.trunc(most)).map((sql) => ({ sql, args: [deviceId, from, to, id] }))
