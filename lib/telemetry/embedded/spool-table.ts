/** SQL of the spool: one row per message, of keyed messages one per reading. Triggers keep the total size in `spool_size`. */
import { countDropped, countSettled } from './accounting.ts'
import type { NoArgs, Row, Statement } from './connection.ts'
import { isNotDuplicate } from './keys.ts'
import { jsonRow, type Message, readRows } from './message.ts'
import type { DatabaseSession } from './session.ts'

/** Milliseconds since the epoch. The arrival of a replayed message lies long before it enters the spool. */
const now = "CAST(unixepoch('subsec') * 1000 AS INTEGER)"
const insertSpool = 'INSERT INTO spool (device_id, count, bytes, at, rows, spooled_at)'

export const spoolPlain = (messages: readonly Message[]): Statement => ({
  sql: `${insertSpool}
    SELECT value ->> 'device', value ->> 'count', octet_length(value ->> 'rows'), value ->> 'at', value ->> 'rows', ${now}
    FROM json_each(?)`,
  args: [
    JSON.stringify(
      messages.map((message) => ({
        device: message.deviceId,
        count: message.readings.length,
        at: message.receivedAt,
        rows: message.readings.map((reading) => jsonRow(message, reading)).join(','),
      })),
    ),
  ],
})

/** @param rows JSON rows of messages; those whose key belongs to another reading are left out. */
export const spoolKeyed = (rows: string): Statement => ({
  sql: `${insertSpool}
    SELECT value ->> 'device', 1, octet_length(value), value ->> 'at', value, ${now}
    FROM json_each(?) WHERE ${isNotDuplicate('value')}`,
  args: [rows],
})

/** A message that leaves the spool, with how many of its readings the store refused. */
export interface SettledRow {
  readonly id: number
  readonly rejected: number
}

/** Takes messages out of the spool. One that another process has settled is no longer there and counts once. */
export const settleSpooled = (rows: readonly SettledRow[]): Statement[] => {
  const settled = JSON.stringify(rows)
  return [
    countSettled(settled),
    { sql: `DELETE FROM spool WHERE id IN (SELECT value ->> 'id' FROM json_each(?))`, args: [settled] },
  ]
}

/** Messages that one transaction of {@link dropRange} looks at. */
const dropSlice = 50

/**
 * The statements that leave only the readings outside of the range in a message, which keeps its place. They do nothing to a message
 * that another process has settled or cut meanwhile, which has other bytes.
 */
const cutMessage = (
  [id, at, rows, spooledAt, bytes]: Row,
  deviceId: number,
  from: bigint,
  to: bigint,
): Statement[] => {
  const message = readRows(rows as string)
  const readings = message.readings.filter(({ time }) => time < from || time >= to)
  const dropped = message.readings.length - readings.length
  if (dropped === 0) return []
  const place = { id: Number(id), deviceId, bytes: Number(bytes) }
  const statements: Statement[] = [
    countDropped(place, dropped),
    { sql: 'DELETE FROM spool WHERE id = ? AND bytes = ?', args: [place.id, place.bytes] },
  ]
  if (readings.length > 0) {
    const about = {
      ...message,
      deviceId,
      receivedAt: Number(at),
      counted: true,
      keyed: false,
      rejected: 0,
      warned: 0,
    }
    const text = readings
      .map(({ time, fields, metadata }) =>
        jsonRow(
          { ...about, readings: [] },
          { ts: time, fields: JSON.stringify(fields), metadata: metadata ? JSON.stringify(metadata) : null },
        ),
      )
      .join(',')
    statements.push({
      sql: `INSERT INTO spool (id, device_id, count, bytes, at, rows, spooled_at)
        SELECT ?1, ?2, ?3, octet_length(?5), ?4, ?5, ?6 WHERE changes() = 1`,
      args: [place.id, deviceId, readings.length, Number(at), text, spooledAt as bigint | null],
    })
  }
  return statements
}

/** Takes the readings of a range out of the spool; they count as stored. */
export async function dropRange(
  session: DatabaseSession,
  deviceId: number,
  from: bigint,
  to: bigint,
): Promise<void> {
  let after = 0
  for (;;) {
    const messages = await session.execute({
      sql: `SELECT id, at, rows, spooled_at, bytes FROM spool WHERE device_id = ? AND id > ? ORDER BY id LIMIT ${dropSlice}`,
      args: [deviceId, after],
    })
    if (messages.length === 0) return
    after = Number(messages.at(-1)?.[0])
    const statements = messages.flatMap((message) => cutMessage(message, deviceId, from, to))
    if (statements.length > 0) await session.write(() => statements)
  }
}

export const spoolQueries = {
  spoolState: (_args: NoArgs): Statement => ({
    sql: 'SELECT readings, bytes, (SELECT coalesce(spooled_at, at) FROM spool ORDER BY id LIMIT 1) FROM spool_size',
  }),
  oldestSpooled: ({ maxMessages, maxBytes }: { maxMessages: number; maxBytes: number }): Statement => ({
    sql: `SELECT id, device_id, at, rows FROM spool WHERE id IN (
        SELECT id FROM (SELECT id, bytes, sum(bytes) OVER (ORDER BY id) AS total
          FROM (SELECT id, bytes FROM spool ORDER BY id LIMIT ?))
        WHERE total - bytes < ?) ORDER BY id`,
    args: [maxMessages, maxBytes],
  }),
}
