/**
 * The newest value of every field. Most messages only make the newest reading of their device newer: then the table `latest`
 * needs no change. Without this shortcut a message costs five upserts.
 */
import type { Row, Statement, Step } from './connection.ts'
import { jsonRows, type Message } from './message.ts'
import { newestTime, pathOf } from './readings.ts'
import { endOfString } from './stored-text.ts'

/** Fields in the answer for a device: a bound on what it can make others read. */
export const maxLatest = 1000

const quote = 34

/**
 * The quoted names of the fields, in their order. Reads the text of a flat JSON object without parsing it: names have no
 * quote and no backslash, numbers and booleans have no comma.
 */
function shapeOf(fields: string): string {
  let shape = ''
  for (let at = 1; fields.charCodeAt(at) === quote; ) {
    const end = fields.indexOf('"', at + 1) + 1
    shape += fields.slice(at, end)
    at = end + 1
    const comma = fields.charCodeAt(at) === quote ? endOfString(fields, at) : fields.indexOf(',', at)
    if (comma < 0) break
    at = comma + 1
  }
  return shape
}

interface Newest {
  readonly ts: bigint
  readonly shape: string
}

/** The oldest and the newest time of the readings of a message, ns; the shape where all of them have the same. */
const spanOf = ({ readings }: Message) => {
  let [oldest, newest] = [readings[0]?.ts ?? 0n, 0n]
  let shape: string | undefined
  for (const [at, { ts, fields }] of readings.entries()) {
    const own = shapeOf(fields)
    shape = at === 0 || shape === own ? own : undefined
    if (ts < oldest) oldest = ts
    if (ts > newest) newest = ts
  }
  return { oldest, newest, shape }
}

/** Devices whose newest reading is remembered. */
const maxDevices = 50_000
/** Longer shapes are not worth their memory. */
const maxShape = 1000

/** The newest reading of each device, as far as this connection knows it. */
export class NewestReadings {
  readonly #known = new Map<number, Newest>()

  forgetAll(): void {
    this.#known.clear()
  }

  forget(deviceId: number): void {
    this.#known.delete(deviceId)
  }

  set(deviceId: number, newest: Newest): void {
    this.#known.delete(deviceId)
    if (newest.shape.length > maxShape) return
    const [oldest] = this.#known.keys()
    if (oldest !== undefined && this.#known.size >= maxDevices) this.#known.delete(oldest)
    this.#known.set(deviceId, newest)
  }

  /**
   * @returns the devices whose messages may change `latest`, and the newest readings of all others after these messages: each
   * has the same fields as the one before and is newer, so that it takes no value from `latest`.
   */
  predictNewest(messages: readonly Message[]): { unsure: Set<number>; after: Map<number, Newest> } {
    const unsure = new Set<number>()
    const after = new Map<number, Newest>()
    for (const message of messages) {
      const { deviceId } = message
      if (unsure.has(deviceId)) continue
      const before = after.get(deviceId) ?? this.#known.get(deviceId)
      const span = before && spanOf(message)
      if (before !== undefined && span?.shape === before.shape && span.oldest >= before.ts)
        after.set(deviceId, { ts: span.newest, shape: before.shape })
      else unsure.add(deviceId)
    }
    for (const deviceId of unsure) after.delete(deviceId)
    return { unsure, after }
  }
}

/** A field's value as JSON: as a value of SQL, text would end at its first NUL. */
export const valueAsJson = (fields: string) => `'json', ${fields} -> ('$."' || f.key || '"')`
const isMissing = `json_type(n.fields, '$."' || f.key || '"') IS NULL`
export const setLatest = 'INSERT INTO latest (device_id, field, ts, type, value)'
const keepNewer = `ON CONFLICT DO UPDATE SET ts = excluded.ts, type = excluded.type, value = excluded.value
  WHERE excluded.ts >= latest.ts`

/** Before the insert: keeps the fields of the newest reading of each device that the newest of the new readings lacks. */
const keepDropped = (rows: string, condition: string): Statement => ({
  sql: `${setLatest}
    SELECT p.device_id, f.key, p.ts, ${valueAsJson('p.fields')}
    FROM (SELECT value ->> 'device' AS device, max(CAST(value ->> 'ts' AS INTEGER)) AS ts, value ->> 'fields' AS fields
      FROM json_each(?) WHERE ${condition} GROUP BY device) AS n
    CROSS JOIN readings AS p ON p.device_id = n.device AND p.ts = ${newestTime('n.device')}
    CROSS JOIN json_each(p.fields) AS f
    WHERE p.ts < n.ts AND ${isMissing} ${keepNewer}`,
  args: [rows],
})

/** After the insert: keeps the fields of the new readings that are not the newest and that the newest reading lacks. */
const keepOlder = (rows: string, condition: string): Statement => ({
  sql: `${setLatest}
    SELECT n.device_id, f.key, r.value ->> 'ts', ${valueAsJson("(r.value ->> 'fields')")}
    FROM json_each(?) AS r
    CROSS JOIN readings AS n ON n.device_id = r.value ->> 'device' AND n.ts = ${newestTime("r.value ->> 'device'")}
    CROSS JOIN json_each(r.value, '$.fields') AS f
    WHERE n.ts > r.value ->> 'ts' AND ${isMissing} AND ${condition} ${keepNewer}`,
  args: [rows],
})

/**
 * Adds the statements that keep `latest` correct, before and after the insert of readings.
 * @param unsure messages that may change it. @param condition of SQL over a JSON row: only these readings are inserted.
 */
export const keepingLatest = (
  unsure: readonly Message[],
  insert: readonly Statement[],
  condition: (row: string) => string = () => 'true',
): Statement[] => {
  if (unsure.length === 0) return [...insert]
  const rows = jsonRows(unsure)
  return [keepDropped(rows, condition('value')), ...insert, keepOlder(rows, condition('r.value'))]
}

/** Reads the newest readings of devices and remembers them. */
export const learnNewest = (devices: ReadonlySet<number>, newest: NewestReadings): Step => ({
  sql: `SELECT n.device_id, n.ts, n.fields FROM json_each(?) AS d
    CROSS JOIN readings AS n ON n.device_id = d.value AND n.ts = ${newestTime('d.value')}`,
  args: [JSON.stringify([...devices])],
  committed: (rows: readonly Row[]) => {
    for (const [deviceId, ts, fields] of rows)
      newest.set(Number(deviceId), { ts: ts as bigint, shape: shapeOf(fields as string) })
  },
})

export const latestQueries = {
  /** The newest reading first, then the fields that it lacks. */
  latest: ({ deviceId }: { deviceId: number }): Statement => ({
    sql: `WITH n AS (SELECT ts, fields FROM readings WHERE device_id = ?1 ORDER BY ts DESC LIMIT 1)
      SELECT NULL, ts, 'reading', fields FROM n
      UNION ALL
      SELECT * FROM (SELECT field, l.ts, type, value FROM n CROSS JOIN latest AS l
        WHERE device_id = ?1 AND json_type(n.fields, '$."' || field || '"') IS NULL
        ORDER BY l.ts DESC, field LIMIT ${maxLatest})`,
    args: [deviceId],
  }),
  /** Of each device: its newest reading's time and value of the field, then what `latest` keeps of the field. */
  latestValues: ({ deviceIds, field }: { deviceIds: readonly number[]; field: string }): Statement => ({
    sql: `SELECT d.value, n.ts, n.fields -> ?3, l.ts, l.type, l.value FROM json_each(?1) AS d
      CROSS JOIN readings AS n ON n.device_id = d.value AND n.ts = ${newestTime('d.value')}
      LEFT JOIN latest AS l ON l.device_id = n.device_id AND l.field = ?2`,
    args: [JSON.stringify(deviceIds), field, pathOf(field)],
  }),
}
