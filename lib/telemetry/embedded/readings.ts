/** SQL of the readings themselves: writing, reading, counting and deleting them. */
import type { HistoryQuery, ScanQuery, TimeRange } from '../store.ts'
import type { NoArgs, SqlValue, Statement } from './connection.ts'
import { jsonRows, type Message } from './message.ts'

const columns = 'device_id, ts, fields, metadata, received_at, device_type, location'

/** The same device and time again adds to the fields and the metadata: the last written value of each name wins. */
const insert = (source: string) => `
  INSERT INTO readings (${columns}) ${source}
  ON CONFLICT DO UPDATE SET
    fields = json_patch(fields, excluded.fields),
    metadata = iif(metadata IS NULL OR excluded.metadata IS NULL, coalesce(excluded.metadata, metadata),
                   json_patch(metadata, excluded.metadata)),
    received_at = excluded.received_at,
    device_type = excluded.device_type,
    location = excluded.location`

/** @param rows JSON rows of messages. @param condition of SQL, over `value`. */
export const insertJson = (rows: string, condition = 'true'): Statement => ({
  sql: insert(`SELECT value ->> 'device', value ->> 'ts', value ->> 'fields', value ->> 'metadata', value ->> 'at',
      value ->> 'type', value ->> 'location'
    FROM json_each(?) WHERE ${condition}`),
  args: [rows],
})

const insertBound = new Map(
  [16, 1].map((count) => [count, insert(`VALUES ${Array(count).fill('(?, ?, ?, ?, ?, ?, ?)').join(', ')}`)]),
)

/**
 * Inserts with every column bound, 16 rows a statement: that costs two thirds of taking the rows out of JSON. The rest goes
 * row by row.
 */
export function insertAllBound(messages: readonly Message[]): Statement[] {
  const rows = messages.flatMap(({ deviceId, receivedAt, deviceType, location, readings }) =>
    readings.map(({ ts, fields, metadata }): SqlValue[] => [
      deviceId,
      ts,
      fields,
      metadata,
      receivedAt,
      deviceType,
      location,
    ]),
  )
  const statements: Statement[] = []
  let at = 0
  for (const [count, sql] of insertBound)
    for (; at + count <= rows.length; at += count)
      statements.push({ sql, args: rows.slice(at, at + count).flat() })
  return statements
}

/** Inserts all readings with one statement, because each statement to a server costs time. */
export const insertAllAsJson = (messages: readonly Message[]): Statement[] => [insertJson(jsonRows(messages))]

/** The time of a device's newest reading. */
export const newestTime = (device: string) => `(SELECT max(ts) FROM readings WHERE device_id = ${device})`

/** A common table of all devices that have readings, found by one step along the primary key each. */
export const eachDevice = `WITH RECURSIVE device(id) AS (
    SELECT min(device_id) FROM readings
    UNION ALL SELECT (SELECT min(device_id) FROM readings WHERE device_id > id) FROM device WHERE id IS NOT NULL)`

/** Field names have no quote and no backslash, so that this is always one step of a JSON path. */
export const pathOf = (field: string) => `$."${field}"`

interface DeviceRange extends TimeRange {
  readonly deviceId: number
}

/** Devices that one query counts: others come in between, 10 ms. */
const devicesOfSlice = 2000

/** The next devices that have readings, behind an id: the first argument. */
export const nextDevices = `WITH RECURSIVE device(id, place) AS (
    SELECT min(device_id), 1 FROM readings WHERE device_id > ?1
    UNION ALL SELECT (SELECT min(device_id) FROM readings WHERE device_id > id), place + 1 FROM device
      WHERE id IS NOT NULL AND place < ${devicesOfSlice})`
/** The id of the last device of a slice that is full; null for the last slice. */
export const lastOfSlice = `iif(count(*) = ${devicesOfSlice}, max(id), NULL)`

export const readingQueries = {
  history({ deviceId, from, to, fields = [], limit, order }: HistoryQuery): Statement {
    const wanted = fields.map(() => 'json_type(fields, ?) IS NOT NULL').join(' OR ')
    return {
      sql: `SELECT ts, fields, metadata FROM readings WHERE device_id = ? AND ts >= ? AND ts < ?
        ${wanted === '' ? '' : `AND (${wanted})`} ORDER BY ts ${order === 'desc' ? 'DESC' : 'ASC'} LIMIT ?`,
      args: [deviceId, from, to, ...fields.map(pathOf), limit],
    }
  },
  scan: ({ deviceId, from, to, limit }: ScanQuery): Statement => ({
    sql: `SELECT ts, fields, metadata, device_type, location, received_at FROM readings
      WHERE device_id = ? AND ts >= ? AND ts < ? ORDER BY ts LIMIT ?`,
    args: [deviceId, from, to, limit],
  }),
  countReadings: ({ deviceId, from, to }: DeviceRange): Statement => ({
    sql: 'SELECT count(*) FROM readings WHERE device_id = ? AND ts >= ? AND ts < ?',
    args: [deviceId, from, to],
  }),
  devices: (_args: NoArgs): Statement => ({
    sql: `${eachDevice} SELECT id FROM device WHERE id IS NOT NULL`,
  }),
  /** Readings of the next devices behind `after`, and the id of the last of them; null when there are no more. */
  countSince: ({ from, after }: { from: bigint; after: number }): Statement => ({
    sql: `${nextDevices} SELECT coalesce(sum((SELECT count(*) FROM readings WHERE device_id = id AND ts >= ?2)), 0), ${lastOfSlice}
      FROM device WHERE id IS NOT NULL`,
    args: [after, from],
  }),
  /** First the id of the last device as above; then for each minute of arrival, since the epoch, its readings. */
  countByMinute: ({ from, until, after }: { from: number; until: number; after: number }): Statement => ({
    sql: `${nextDevices} SELECT ${lastOfSlice}, 0 FROM device WHERE id IS NOT NULL
      UNION ALL SELECT received_at / 60000, count(*) FROM device CROSS JOIN readings
        ON device_id = id AND ts >= ?2 * 1000000 AND received_at >= ?2 AND received_at < ?3
      GROUP BY 1`,
    args: [after, from, until],
  }),
}
