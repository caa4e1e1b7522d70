/** SQL of the readings themselves: writing, reading, counting and deleting them. */
import type { HistoryQuery, ScanQuery, TimeRange } from '../store.ts'
import type { NoArgs, SqlValue, Statement } from './connection.ts'
import { jsonRows, type Message } from './message.ts'

const columns = 'device_id, device_type, location, ts, fields, metadata, received_at'

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
  sql: insert(`SELECT value ->> 'device', value ->> 'type', value ->> 'location', value ->> 'ts', value ->> 'fields',
      value ->> 'metadata', value ->> 'at'
    FROM json_each(?) WHERE ${condition}`),
  args: [rows],
})

/** Most readings of one statement for one device. */
const maxOfDevice = 32
/** Devices with one reading each that share a statement. */
const sharedBy = 16

const shared = insert(`VALUES ${Array(sharedBy).fill('(?, ?, ?, ?, ?, ?, ?)').join(', ')}`)

/** By the number of readings: statements for so many readings of one device. */
const ofDevice = Array.from({ length: maxOfDevice + 1 }, (_, count) => {
  const row = (from: number) => `(?1, ?2, ?3, ?${from}, ?${from + 1}, ?${from + 2}, ?${from + 3})`
  const rows = Array.from({ length: count }, (__, at) => row(4 + 4 * at))
  return insert(`VALUES ${rows.join(', ')}`)
})

interface DeviceGroup extends Pick<Message, 'deviceId' | 'deviceType' | 'location'> {
  /** The other columns of its readings, one reading after the other. */
  readonly others: SqlValue[]
  count: number
}

/** Readings of one device, type and location that follow each other. */
function* groupsOf(messages: readonly Message[]): Generator<DeviceGroup> {
  let group: DeviceGroup | undefined
  for (const { deviceId, receivedAt, deviceType, location, readings } of messages)
    for (const { ts, fields, metadata } of readings) {
      const goesOn =
        group?.deviceId === deviceId &&
        group.deviceType === deviceType &&
        group.location === location &&
        group.count < maxOfDevice
      if (group === undefined || !goesOn) {
        if (group !== undefined) yield group
        group = { deviceId, deviceType, location, others: [], count: 0 }
      }
      group.others.push(ts, fields, metadata, receivedAt)
      group.count += 1
    }
  if (group !== undefined) yield group
}

/**
 * Inserts with every column bound. Readings of one device share a statement that binds what they have in common once, which
 * takes a quarter off the insert; single readings of many devices share one, too, because each statement costs time.
 */
export function insertAllBound(messages: readonly Message[]): Statement[] {
  const statements: Statement[] = []
  let singles: SqlValue[][] = []
  const endSingles = () => {
    const sql = ofDevice[1] ?? ''
    if (singles.length === sharedBy) statements.push({ sql: shared, args: singles.flat() })
    else statements.push(...singles.map((args) => ({ sql, args })))
    singles = []
  }
  for (const { deviceId, deviceType, location, others, count } of groupsOf(messages)) {
    const args = [deviceId, deviceType, location, ...others]
    if (count === 1) singles.push(args)
    // Readings of one time are written in the order in which they came.
    if (count > 1 || singles.length === sharedBy) endSingles()
    if (count > 1) statements.push({ sql: ofDevice[count] ?? '', args })
  }
  endSingles()
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
