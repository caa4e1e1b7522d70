/** The embedded store's tables and statements, on any libSQL connection: of a thread of its own, or of a server. */
import type { Client } from '@libsql/client'
import { AppError } from '../errors.ts'
import type { Aggregation } from './store.ts'

/** Values of a row in the order of its columns; whole numbers are `bigint`. */
export type Row = readonly unknown[]

export interface Statement {
  readonly sql: string
  readonly args?: (string | number | bigint | null)[] | Record<string, string | number | bigint | null>
}

/** A connection to the database, of a file or of a server. */
export interface Connection {
  execute(statement: Statement): Promise<Row[]>
  /**
   * Runs statements as one transaction, all or none; answers the rows of each.
   * @param make gets whether the database may have been changed by another connection since the last call.
   */
  write(make: (changedElsewhere: boolean) => readonly Statement[]): Promise<Row[][]>
  /** Runs statements without arguments. */
  script(sql: string): Promise<void>
  /** Settings of a connection that writes; every write reaches the disk before it is answered. */
  tune(): void
  close(): void
}

/** The database of a server, which looks after its own settings. */
export const onServer = (client: Client): Connection => ({
  execute: async ({ sql, args = [] }) =>
    (await client.execute({ sql, args })).rows.map((row) => Array.from(row)),
  async write(make) {
    const statements = make(true).map(({ sql, args = [] }) => ({ sql, args }))
    if (statements.length === 0) return []
    const results = await client.batch(statements, 'write')
    return results.map(({ rows }) => rows.map((row) => Array.from(row)))
  },
  script: (sql) => client.executeMultiple(sql),
  tune: () => undefined,
  close: () => client.close(),
})

/** One message as it is written. */
export interface Message {
  readonly deviceId: number
  /** Milliseconds since the epoch. */
  readonly receivedAt: number
  /**
   * Its readings as JSON arrays, separated by commas: device, time in ns as a string, fields, metadata, arrival, type, location; with
   * `tokens` also the key, or null, and the token of the reading.
   */
  readonly rows: string
  readonly count: number
  /** The oldest and the newest time of its readings, ns. */
  readonly oldest: bigint
  readonly newest: bigint
  /** The names of the fields, where all its readings have the same in the same order. */
  readonly shape: string | undefined
  /** Readings that count as received and as rejected; both 0 for what is not to be counted. */
  readonly received: number
  readonly rejected: number
  /** One for each reading, unlike every other of all time; only for messages that have keys. */
  readonly tokens: readonly string[] | undefined
}

export interface Written {
  /** Places of the messages that could not be written. */
  readonly failed: number[]
  readonly code: string
  /** Tokens of the readings whose key was there before. */
  readonly duplicates: string[]
  /** Of the spool: everything of this group has at most this id. */
  readonly lastId: number
}

/** Device, received, stored, spooled, rejected, duplicates, arrival in ms: added to its account. */
export type AccountRow = [number, number, number, number, number, number, number]

/** A message that waits in the spool. */
export type SpooledRow = [id: number, deviceId: number, receivedAt: number, rows: string]

/** What the database is asked. */
export type Ask =
  | { op: 'write'; into: 'readings' | 'spool'; messages: Message[] }
  | { op: 'count'; change: AccountRow }
  /** `keys`: JSON rows of device, key, token, arrival and place; the answer has the place and the token that stands there. */
  | { op: 'reserveKeys'; keys: string }
  /** `keys`: the fifth is 1 for a reading that counts as stored, else 0; the answer is how many were stored before. */
  | { op: 'note'; keys: string; deviceId: number; change: AccountRow }
  | { op: 'account'; deviceId: number | undefined }
  | { op: 'lastArrival' }
  | { op: 'spool' }
  | { op: 'spooled'; maxMessages: number; maxBytes: number }
  /** Ids, each with how many of its readings were refused. */
  | { op: 'settle'; settled: [id: number, rejected: number][] }
  | { op: 'dropSpooled'; deviceId: number; from: bigint; to: bigint }
  /** `forget`: what was removed before, ms since the epoch, is remembered no longer. */
  | { op: 'noteRemoved'; deviceId: number; from: bigint; to: bigint; at: number; forget: number }
  | { op: 'removedSince'; deviceId: number; at: number }
  | { op: 'prune'; before: bigint }
  | { op: 'forgetKeys'; before: number }
  | { op: 'remove'; deviceId: number; from: bigint; to: bigint }
  | { op: 'close' }
  /** `write`: a little is written, as durably as readings are. */
  | { op: 'check'; write: boolean }
  | {
      op: 'history'
      deviceId: number
      from: bigint
      to: bigint
      fields: string[] | undefined
      limit: number
      descending: boolean
    }
  | { op: 'latest'; deviceId: number }
  | { op: 'scan'; deviceId: number; from: bigint; to: bigint; limit: number }
  | { op: 'countReadings'; deviceId: number; from: bigint; to: bigint }
  /** The time of the newest reading of the range that has so many newer ones in it. */
  | { op: 'sliceEnd'; deviceId: number; from: bigint; to: bigint; readings: number }
  | { op: 'devices' }
  | { op: 'countSince'; from: bigint }
  | {
      op: 'aggregate'
      deviceId: number
      field: string | undefined
      aggregation: Aggregation
      window: bigint
      from: bigint
      to: bigint
      limit: number
    }

/**
 * WITHOUT ROWID: the readings of a device lie together in time order. `latest` keeps the newest value of each field that
 * the newest reading of its device has not, so that asking for it never walks back through the history for a rare one.
 * What it holds of other fields may be old, and does not count.
 */
const schema = `
  CREATE TABLE IF NOT EXISTS readings (
    device_id INTEGER NOT NULL,
    ts INTEGER NOT NULL,
    fields TEXT NOT NULL,
    metadata TEXT,
    received_at INTEGER NOT NULL,
    device_type TEXT NOT NULL,
    location TEXT,
    PRIMARY KEY (device_id, ts)
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS latest (
    device_id INTEGER NOT NULL,
    field TEXT NOT NULL,
    ts INTEGER NOT NULL,
    type TEXT NOT NULL,
    value,
    PRIMARY KEY (device_id, field)
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS accounting (
    device_id INTEGER PRIMARY KEY,
    received INTEGER NOT NULL,
    stored INTEGER NOT NULL,
    spooled INTEGER NOT NULL,
    rejected INTEGER NOT NULL,
    duplicates INTEGER NOT NULL,
    last_at INTEGER NOT NULL
  );
  CREATE TABLE IF NOT EXISTS seen (
    device_id INTEGER NOT NULL,
    key TEXT NOT NULL,
    token TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (device_id, key)
  ) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS seen_at ON seen (at);
  CREATE TABLE IF NOT EXISTS removed (
    device_id INTEGER NOT NULL,
    from_ts INTEGER NOT NULL,
    to_ts INTEGER NOT NULL,
    at INTEGER NOT NULL
  );
  CREATE INDEX IF NOT EXISTS removed_device ON removed (device_id, at);
  CREATE TABLE IF NOT EXISTS spool (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    device_id INTEGER NOT NULL,
    count INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    at INTEGER NOT NULL,
    rows TEXT NOT NULL,
    spooled_at INTEGER
  );
  CREATE INDEX IF NOT EXISTS spool_device ON spool (device_id);
  CREATE TABLE IF NOT EXISTS spool_size (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    readings INTEGER NOT NULL,
    bytes INTEGER NOT NULL
  );
  INSERT OR IGNORE INTO spool_size VALUES (1, 0, 0);
  CREATE TRIGGER IF NOT EXISTS spool_in AFTER INSERT ON spool BEGIN
    UPDATE spool_size SET readings = readings + new.count, bytes = bytes + new.bytes;
  END;
  CREATE TRIGGER IF NOT EXISTS spool_out AFTER DELETE ON spool BEGIN
    UPDATE spool_size SET readings = readings - old.count, bytes = bytes - old.bytes;
  END;`

/** A reading whose key, if it has one, is not there from an earlier write. */
const fresh = (row: string) => `(${row} ->> 7 IS NULL OR EXISTS (SELECT 1 FROM seen
    WHERE seen.device_id = ${row} ->> 0 AND seen.key = ${row} ->> 7 AND seen.token = ${row} ->> 8))`

const insertReadings = (condition: string) => `
  INSERT INTO readings (device_id, ts, fields, metadata, received_at, device_type, location)
  SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6
  FROM json_each(?) WHERE ${condition}
  ON CONFLICT DO UPDATE SET
    fields = json_patch(fields, excluded.fields),
    metadata = iif(metadata IS NULL OR excluded.metadata IS NULL, coalesce(excluded.metadata, metadata),
                   json_patch(metadata, excluded.metadata)),
    received_at = excluded.received_at,
    device_type = excluded.device_type,
    location = excluded.location`

/** The time of a device's newest reading. */
const newestOf = (device: string) => `(SELECT max(ts) FROM readings WHERE device_id = ${device})`

const keepLatest = `ON CONFLICT DO UPDATE SET ts = excluded.ts, type = excluded.type, value = excluded.value
  WHERE excluded.ts >= latest.ts`

/** A field as JSON: as a value of SQL, text would end at its first NUL. */
const asJson = (fields: string) => `'json', ${fields} -> ('$."' || f.key || '"')`

/** Before readings are written: keeps what the newest one of each device has and the newest of those to come has not. */
const keepDropped = (condition: string) => `
  INSERT INTO latest (device_id, field, ts, type, value)
  SELECT p.device_id, f.key, p.ts, ${asJson('p.fields')}
  FROM (SELECT value ->> 0 AS device, max(CAST(value ->> 1 AS INTEGER)) AS ts, value ->> 2 AS fields FROM json_each(?)
    WHERE ${condition} GROUP BY device) AS n
  CROSS JOIN readings AS p ON p.device_id = n.device AND p.ts = ${newestOf('n.device')}
  CROSS JOIN json_each(p.fields) AS f
  WHERE p.ts < n.ts AND json_type(n.fields, '$."' || f.key || '"') IS NULL ${keepLatest}`

/** After readings are written: keeps what those have that are not the newest of their device, and the newest has not. */
const keepOlder = (condition: string) => `
  INSERT INTO latest (device_id, field, ts, type, value)
  SELECT n.device_id, f.key, r.value ->> 1, ${asJson('(r.value ->> 2)')}
  FROM json_each(?) AS r
  CROSS JOIN readings AS n ON n.device_id = r.value ->> 0 AND n.ts = ${newestOf('r.value ->> 0')}
  CROSS JOIN json_each(r.value, '$[2]') AS f
  WHERE n.ts > r.value ->> 1 AND json_type(n.fields, '$."' || f.key || '"') IS NULL AND ${condition} ${keepLatest}`

const newestReadings = `
  SELECT n.device_id, n.ts, n.fields FROM json_each(?) AS d
  CROSS JOIN readings AS n ON n.device_id = d.value AND n.ts = ${newestOf('d.value')}`

/** All devices that have readings, by one step along the primary key each. */
const eachDevice = `WITH RECURSIVE device(id) AS (
    SELECT min(device_id) FROM readings
    UNION ALL SELECT (SELECT min(device_id) FROM readings WHERE device_id > id) FROM device WHERE id IS NOT NULL)`

const noteKeys = `
  INSERT INTO seen (device_id, key, token, at)
  SELECT value ->> 0, value ->> 7, value ->> 8, value ->> 4 FROM json_each(?) WHERE value ->> 7 IS NOT NULL
  ON CONFLICT DO NOTHING`

/** Begins the token of a key whose reading is not stored yet; its time in ns follows. */
export const reserved = 'reserved:'

const reserveKeys = `
  INSERT INTO seen (device_id, key, token, at)
  SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?) WHERE true
  ON CONFLICT DO NOTHING`

const reservedKeys = `
  SELECT value ->> 4, seen.token FROM json_each(?) JOIN seen ON seen.device_id = value ->> 0 AND seen.key = value ->> 1`

/** Of many that stored a reading under one reservation the first one counts. */
const settleKeys = `
  INSERT INTO seen (device_id, key, token, at)
  SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?) WHERE true
  ON CONFLICT DO UPDATE SET token = excluded.token WHERE seen.token LIKE '${reserved}%'`

const countLost = `SELECT count(*) AS lost FROM json_each(?1) WHERE value ->> 4 AND NOT EXISTS (SELECT 1 FROM seen
    WHERE seen.device_id = value ->> 0 AND seen.key = value ->> 1 AND seen.token = value ->> 2)`

const addToAccounts = `ON CONFLICT DO UPDATE SET
    received = received + excluded.received,
    stored = stored + excluded.stored,
    spooled = spooled + excluded.spooled,
    rejected = rejected + excluded.rejected,
    duplicates = duplicates + excluded.duplicates,
    last_at = max(last_at, excluded.last_at)`

const account = `
  INSERT INTO accounting (device_id, received, stored, spooled, rejected, duplicates, last_at)
  SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6
  FROM json_each(?) WHERE true ${addToAccounts}`

const accountLost = `
  INSERT INTO accounting (device_id, received, stored, spooled, rejected, duplicates, last_at)
  SELECT ?2, 0, -lost, 0, 0, lost, 0 FROM (${countLost}) WHERE true ${addToAccounts}`

const accountKeyed = (into: 'readings' | 'spool') => `
  INSERT INTO accounting (device_id, received, stored, spooled, rejected, duplicates, last_at)
  SELECT device, 0, ${into === 'readings' ? 'sum(fresh), 0' : '0, sum(fresh)'}, 0, sum(NOT fresh), 0
  FROM (SELECT value ->> 0 AS device, ${fresh('value')} AS fresh FROM json_each(?)) WHERE true
  GROUP BY device ${addToAccounts}`

const findDuplicates = `SELECT value ->> 8 FROM json_each(?) WHERE NOT ${fresh('value')}`

/** Milliseconds since the epoch. A replayed message arrived long before it is spooled. */
const spooledNow = "CAST(unixepoch('subsec') * 1000 AS INTEGER)"

const insertSpool = `
  INSERT INTO spool (device_id, count, bytes, at, rows, spooled_at)
  SELECT value ->> 0, value ->> 1, octet_length(value ->> 3), value ->> 2, value ->> 3, ${spooledNow}
  FROM json_each(?)`

const insertSpoolKeyed = `
  INSERT INTO spool (device_id, count, bytes, at, rows, spooled_at)
  SELECT value ->> 0, 1, octet_length(value), value ->> 4, value, ${spooledNow}
  FROM json_each(?) WHERE ${fresh('value')}`

const lastSpooled = 'SELECT coalesce(max(id), 0) FROM spool'

// What another process has settled is no longer there, and counts once.
const countSettled = `
  INSERT INTO accounting (device_id, received, stored, spooled, rejected, duplicates, last_at)
  SELECT device_id, 0, sum(count - refused), -sum(count), sum(refused), 0, 0
  FROM (SELECT device_id, count, min(count, value ->> 1) AS refused
    FROM json_each(?) CROSS JOIN spool ON spool.id = value ->> 0) WHERE true
  GROUP BY device_id ${addToAccounts}`
const deleteSpooled = 'DELETE FROM spool WHERE id IN (SELECT value ->> 0 FROM json_each(?))'

/** Conditions of the disk or the network, not of a reading: trying each of a group for itself would only fail as often. */
export const ofAll = /^(SQLITE_(FULL|IOERR|BUSY|LOCKED|READONLY|CANTOPEN|NOMEM|CORRUPT|NOTADB)|NETWORK_)/

/** The code of what a database threw. */
export const codeOf = (error: unknown): string => {
  // A server that is away is told as an error of ours, with the reason in its cause.
  const { code } = (error instanceof AppError ? error.cause : error) as { code?: unknown }
  return typeof code === 'string' ? code : 'UNKNOWN'
}

const pruneSlice = 5000

/** Fields that are told as the latest of a device: a bound on what it can make others read. */
export const maxLatest = 1000

/** Field names hold no quote and no backslash, so that this is always one step of a JSON path. */
const pathOf = (field: string) => `$."${field}"`

const aggregateSql: Record<Aggregation, string> = {
  mean: 'SELECT w, f, avg(v) AS a FROM v GROUP BY w, f',
  sum: 'SELECT w, f, sum(v) AS a FROM v GROUP BY w, f',
  count: 'SELECT w, f, count(*) AS a FROM v GROUP BY w, f',
  min: 'SELECT w, f, min(v) AS a FROM v GROUP BY w, f',
  max: 'SELECT w, f, max(v) AS a FROM v GROUP BY w, f',
  first: 'SELECT w, f, v AS a, min(ts) FROM v GROUP BY w, f',
  last: 'SELECT w, f, v AS a, max(ts) FROM v GROUP BY w, f',
  median: `SELECT w, f, avg(v) AS a FROM (
      SELECT w, f, v, row_number() OVER (PARTITION BY w, f ORDER BY v) AS i, count(*) OVER (PARTITION BY w, f) AS n FROM v)
    WHERE i IN ((n + 1) / 2, (n + 2) / 2) GROUP BY w, f`,
}

const aggregate = (ask: Extract<Ask, { op: 'aggregate' }>): Statement => {
  const range = 'device_id = :device AND ts >= :from AND ts < :to'
  const args = { device: ask.deviceId, from: ask.from, to: ask.to, window: ask.window, limit: ask.limit }
  const window = 'ts - ts % :window AS w'
  const values =
    ask.field === undefined
      ? `SELECT ${window}, ts, key AS f, CAST(atom AS REAL) AS v FROM readings, json_each(fields)
         WHERE ${range} AND type IN ('integer', 'real')`
      : `SELECT ${window}, ts, :field AS f, CAST(fields ->> :path AS REAL) AS v FROM readings
         WHERE ${range} AND json_type(fields, :path) IN ('integer', 'real')`
  return {
    sql: `WITH v AS (${values}) ${aggregateSql[ask.aggregation]} ORDER BY w DESC LIMIT :limit`,
    args: ask.field === undefined ? args : { ...args, field: ask.field, path: pathOf(ask.field) },
  }
}

const history = (ask: Extract<Ask, { op: 'history' }>): Statement => {
  const fields = ask.fields ?? []
  const wanted = fields.map(() => 'json_type(fields, ?) IS NOT NULL').join(' OR ')
  return {
    sql: `SELECT ts, fields, metadata FROM readings WHERE device_id = ? AND ts >= ? AND ts < ?
          ${wanted === '' ? '' : `AND (${wanted})`} ORDER BY ts ${ask.descending ? 'DESC' : 'ASC'} LIMIT ?`,
    args: [ask.deviceId, ask.from, ask.to, ...fields.map(pathOf), ask.limit],
  }
}

/** Refuses every write, and leaves a file as it is. */
export async function readOnly(connection: Connection): Promise<void> {
  await connection.execute({ sql: 'PRAGMA query_only = ON' })
}

/** Makes the tables. */
export async function prepareTables(connection: Connection): Promise<void> {
  connection.tune()
  await connection.script(schema)
  const columns = await connection.execute({ sql: "SELECT name FROM pragma_table_info('spool')" })
  if (columns.some(([name]) => name === 'spooled_at')) return
  await connection.script('ALTER TABLE spool ADD COLUMN spooled_at INTEGER').catch((error: unknown) => {
    // Another instance that starts at the same time was first.
    if (!/duplicate column/.test(String(error))) throw error
  })
}

/** What is known of the newest reading of a device. */
interface Newest {
  readonly ts: bigint
  readonly shape: string
}

/** Devices whose newest reading is remembered. */
const maxNewest = 50_000
/** Longer names of fields are not worth their memory. */
const maxShape = 1000

/** The names of fields, in their order: what two readings with the same can be told by. */
export const shapeOf = (fields: object): string => Object.keys(fields).join('"')

/**
 * The newest reading of each device as this connection knows it: a message that has the same fields and is newer takes
 * nothing from what is the latest of its device, and so costs nothing more than its rows.
 */
function newestReadingsKnown() {
  const known = new Map<number, Newest>()
  return {
    forgetAll: () => known.clear(),
    forget: (deviceId: number) => known.delete(deviceId),
    set(deviceId: number, newest: Newest) {
      known.delete(deviceId)
      if (newest.shape.length > maxShape) return
      if (known.size >= maxNewest) known.delete(known.keys().next().value as number)
      known.set(deviceId, newest)
    },
    /** The devices of which a message may take something from what is the latest, and what the others have then. */
    follow(messages: readonly Message[]): { unsure: Set<number>; after: Map<number, Newest> } {
      const unsure = new Set<number>()
      const after = new Map<number, Newest>()
      for (const { deviceId, oldest, newest, shape } of messages) {
        const before = after.get(deviceId) ?? known.get(deviceId)
        if (before !== undefined && before.shape === shape && oldest >= before.ts)
          after.set(deviceId, { ts: newest, shape })
        else unsure.add(deviceId)
      }
      for (const deviceId of unsure) after.delete(deviceId)
      return { unsure, after }
    },
  }
}

/** Answers what is asked, on this connection. */
export function answerOn(connection: Connection): (ask: Ask) => Promise<unknown> {
  const newest = newestReadingsKnown()

  /** Readings of messages, and what they leave as the latest of their device. @param unsure rows that may change that. */
  const addReadings = (
    add: (sql: string, json: string) => void,
    rows: string,
    unsure: string,
    condition: (row: string) => string,
  ) => {
    if (unsure !== '') add(keepDropped(condition('value')), unsure)
    add(insertReadings(condition('value')), rows)
    if (unsure !== '') add(keepOlder(condition('r.value')), unsure)
  }

  const rowsOf = (messages: readonly Message[]) =>
    messages.length === 0 ? '' : `[${messages.map(({ rows }) => rows).join(',')}]`

  /** The writes of a group as statements of one transaction, and what is known of its devices when that is done. */
  const statementsOf = (
    into: 'readings' | 'spool',
    messages: readonly Message[],
    changedElsewhere: boolean,
  ) => {
    if (changedElsewhere) newest.forgetAll()
    const statements: Statement[] = []
    const add = (sql: string, json: string) => statements.push({ sql, args: [json] })
    const plain = messages.filter(({ tokens, count }) => tokens === undefined && count > 0)
    const keyed = messages.filter(({ tokens, count }) => tokens !== undefined && count > 0)
    const { unsure, after } = newest.follow(into === 'readings' ? plain : [])
    if (plain.length > 0 && into === 'readings') {
      const unsureOnes = unsure.size === 0 ? [] : plain.filter(({ deviceId }) => unsure.has(deviceId))
      addReadings(add, rowsOf(plain), rowsOf(unsureOnes), () => 'true')
    } else if (plain.length > 0) {
      const all = plain.map(({ deviceId, count, receivedAt, rows }) => [deviceId, count, receivedAt, rows])
      add(insertSpool, JSON.stringify(all))
    }
    const counted = messages.filter(({ received }) => received > 0)
    if (keyed.length > 0) {
      const json = rowsOf(keyed)
      add(noteKeys, json)
      if (into === 'readings') {
        addReadings(add, json, json, fresh)
        for (const { deviceId } of keyed) unsure.add(deviceId)
      } else add(insertSpoolKeyed, json)
      add(accountKeyed(into), json)
      add(findDuplicates, json)
    }
    if (counted.length > 0) {
      const accounts = new Map<number, AccountRow>()
      for (const { deviceId, received, rejected, count, tokens, receivedAt } of counted) {
        const row = accounts.get(deviceId) ?? [deviceId, 0, 0, 0, 0, 0, 0]
        accounts.set(deviceId, row)
        row[1] += received
        // What has keys is counted by what its keys say.
        if (tokens === undefined) row[into === 'readings' ? 2 : 3] += count
        row[4] += rejected
        row[6] = Math.max(row[6], receivedAt)
      }
      add(account, JSON.stringify([...accounts.values()]))
    }
    if (unsure.size > 0 && !changedElsewhere) add(newestReadings, JSON.stringify([...unsure]))
    if (into === 'spool') statements.push({ sql: lastSpooled })
    return { statements, unsure, after }
  }

  const write = async (into: 'readings' | 'spool', messages: readonly Message[]) => {
    let group: ReturnType<typeof statementsOf> | undefined
    const results = await connection.write((changedElsewhere) => {
      group = statementsOf(into, messages, changedElsewhere)
      return group.statements
    })
    const { statements = [], unsure = [], after = [] } = group ?? {}
    const rowsOf = (sql: string) => results[statements.findIndex((statement) => statement.sql === sql)] ?? []
    for (const [deviceId, reading] of after) newest.set(deviceId, reading)
    for (const deviceId of unsure) newest.forget(deviceId)
    for (const [deviceId, ts, fields] of rowsOf(newestReadings))
      newest.set(Number(deviceId), { ts: ts as bigint, shape: shapeOf(JSON.parse(fields as string)) })
    return {
      duplicates: rowsOf(findDuplicates).map(([token]) => String(token)),
      lastId: Number(rowsOf(lastSpooled)[0]?.[0] ?? 0),
    }
  }

  /** Writes the messages in one transaction; where that fails, each for itself. */
  const writeGroup = async (into: 'readings' | 'spool', messages: readonly Message[]): Promise<Written> => {
    try {
      return { failed: [], code: '', ...(await write(into, messages)) }
    } catch (error) {
      let code = codeOf(error)
      if (messages.length === 1 || ofAll.test(code))
        return { failed: messages.map((_, at) => at), code, duplicates: [], lastId: 0 }
      const failed: number[] = []
      const duplicates: string[] = []
      let lastId = 0
      for (const [at, message] of messages.entries()) {
        await write(into, [message]).then(
          (written) => {
            duplicates.push(...written.duplicates)
            lastId = Math.max(lastId, written.lastId)
          },
          (reason: unknown) => {
            failed.push(at)
            code = codeOf(reason)
          },
        )
      }
      return { failed, code, duplicates, lastId }
    }
  }

  const settle = (settled: string): Promise<unknown> =>
    connection.write(() => [
      { sql: countSettled, args: [settled] },
      { sql: deleteSpooled, args: [settled] },
    ])

  /** Takes the readings of a range out of the spool, message by message; each keeps its place. */
  const dropSpooled = async (deviceId: number, from: bigint, to: bigint): Promise<void> => {
    let after = 0
    for (;;) {
      const slice = await connection.execute({
        sql: 'SELECT id, at, rows, spooled_at FROM spool WHERE device_id = ? AND id > ? ORDER BY id LIMIT 50',
        args: [deviceId, after],
      })
      if (slice.length === 0) return
      const statements: Statement[] = []
      let dropped = 0
      for (const [id, at, rows, spooledAt] of slice as [bigint, bigint, string, bigint | null][]) {
        after = Number(id)
        const readings = JSON.parse(`[${rows}]`) as [number, string][]
        const kept = readings.filter(([, ts]) => BigInt(ts) < from || BigInt(ts) >= to)
        if (kept.length === readings.length) continue
        dropped += readings.length - kept.length
        statements.push({ sql: 'DELETE FROM spool WHERE id = ?', args: [after] })
        if (kept.length === 0) continue
        const text = kept.map((reading) => JSON.stringify(reading)).join(',')
        statements.push({
          sql: `INSERT INTO spool (id, device_id, count, bytes, at, rows, spooled_at)
                VALUES (?1, ?2, ?3, octet_length(?5), ?4, ?5, ?6)`,
          args: [after, deviceId, kept.length, at, text, spooledAt],
        })
      }
      if (dropped === 0) continue
      const change: AccountRow = [deviceId, 0, dropped, -dropped, 0, 0, 0]
      await connection.write(() => [{ sql: account, args: [JSON.stringify([change])] }, ...statements])
    }
  }

  /** Deletes at most {@link pruneSlice} readings that are too old. Answers whether there may be more. */
  const prune = async (before: bigint): Promise<boolean> => {
    newest.forgetAll()
    const [old] = await rows(
      `${eachDevice} SELECT id FROM device WHERE id IS NOT NULL
         AND (SELECT min(ts) FROM readings WHERE device_id = id) < ? LIMIT 1`,
      before,
    )
    if (old === undefined) {
      await rows('DELETE FROM latest WHERE ts < ?', before)
      return false
    }
    await rows(
      `DELETE FROM readings WHERE device_id = ?1 AND ts IN
         (SELECT ts FROM readings WHERE device_id = ?1 AND ts < ?2 ORDER BY ts LIMIT ${pruneSlice})`,
      old[0] as bigint,
      before,
    )
    return true
  }

  const remove = (deviceId: number, from: bigint, to: bigint): Promise<unknown> => {
    newest.forget(deviceId)
    return connection.write(() => [
      { sql: 'DELETE FROM readings WHERE device_id = ? AND ts >= ? AND ts < ?', args: [deviceId, from, to] },
      { sql: 'DELETE FROM latest WHERE device_id = ?', args: [deviceId] },
      // With max(), the other columns are those of the row that has it.
      {
        sql: `INSERT INTO latest (device_id, field, ts, type, value)
              SELECT device_id, key, max(ts), ${asJson('fields')} FROM readings, json_each(fields) AS f
              WHERE device_id = ? GROUP BY key`,
        args: [deviceId],
      },
    ])
  }

  const rows = (sql: string, ...args: (number | bigint | null)[]): Promise<Row[]> =>
    connection.execute({ sql, args })

  return async (ask: Ask): Promise<unknown> => {
    switch (ask.op) {
      case 'write':
        return writeGroup(ask.into, ask.messages)
      case 'count':
        await connection.execute({ sql: account, args: [JSON.stringify([ask.change])] })
        return undefined
      case 'reserveKeys': {
        const [, found] = await connection.write(() => [
          { sql: reserveKeys, args: [ask.keys] },
          { sql: reservedKeys, args: [ask.keys] },
        ])
        return found
      }
      case 'note': {
        const results = await connection.write(() => [
          { sql: settleKeys, args: [ask.keys] },
          { sql: account, args: [JSON.stringify([ask.change])] },
          { sql: accountLost, args: [ask.keys, ask.deviceId] },
          { sql: countLost, args: [ask.keys] },
        ])
        return Number(results.at(-1)?.[0]?.[0] ?? 0)
      }
      case 'account':
        return rows(
          `SELECT total(received), total(stored), total(spooled), total(rejected), total(duplicates)
             FROM accounting WHERE ?1 IS NULL OR device_id = ?1`,
          ask.deviceId ?? null,
        )
      case 'lastArrival':
        return rows('SELECT coalesce(max(last_at), 0) FROM accounting')
      case 'spool':
        return rows(
          `SELECT readings, bytes, (SELECT coalesce(spooled_at, at) FROM spool ORDER BY id LIMIT 1) FROM spool_size`,
        )
      case 'spooled':
        return rows(
          `SELECT id, device_id, at, rows FROM spool WHERE id IN (
             SELECT id FROM (SELECT id, bytes, sum(bytes) OVER (ORDER BY id) AS total
               FROM (SELECT id, bytes FROM spool ORDER BY id LIMIT ?))
             WHERE total - bytes < ?) ORDER BY id`,
          ask.maxMessages,
          ask.maxBytes,
        )
      case 'settle':
        return settle(JSON.stringify(ask.settled))
      case 'dropSpooled':
        return dropSpooled(ask.deviceId, ask.from, ask.to)
      case 'noteRemoved':
        await connection.write(() => [
          { sql: 'DELETE FROM removed WHERE at < ?', args: [ask.forget] },
          {
            sql: 'INSERT INTO removed (device_id, from_ts, to_ts, at) VALUES (?, ?, ?, ?)',
            args: [ask.deviceId, ask.from, ask.to, ask.at],
          },
        ])
        return undefined
      case 'removedSince':
        return rows(
          'SELECT from_ts, to_ts FROM removed WHERE device_id = ? AND at >= ?',
          ask.deviceId,
          ask.at,
        )
      case 'prune':
        return prune(ask.before)
      case 'forgetKeys':
        return rows(
          `DELETE FROM seen WHERE (device_id, key) IN
             (SELECT device_id, key FROM seen WHERE at < ? LIMIT ${pruneSlice}) RETURNING 1`,
          ask.before,
        )
      case 'remove':
        await remove(ask.deviceId, ask.from, ask.to)
        return undefined
      case 'check':
        return rows(ask.write ? 'UPDATE spool_size SET bytes = bytes' : 'SELECT 1')
      case 'history':
        return connection.execute(history(ask))
      case 'latest':
        // The newest reading as it is, then what it has not.
        return rows(
          `WITH n AS (SELECT ts, fields FROM readings WHERE device_id = ?1 ORDER BY ts DESC LIMIT 1)
           SELECT NULL, ts, 'reading', fields FROM n
           UNION ALL
           SELECT * FROM (SELECT field, l.ts, type, value FROM n CROSS JOIN latest AS l
             WHERE device_id = ?1 AND json_type(n.fields, '$."' || field || '"') IS NULL
             ORDER BY l.ts DESC, field LIMIT ${maxLatest})`,
          ask.deviceId,
        )
      case 'countReadings':
        return rows(
          'SELECT count(*) FROM readings WHERE device_id = ? AND ts >= ? AND ts < ?',
          ask.deviceId,
          ask.from,
          ask.to,
        )
      case 'sliceEnd':
        return rows(
          `SELECT ts FROM readings WHERE device_id = ? AND ts >= ? AND ts < ? ORDER BY ts DESC LIMIT 1 OFFSET ?`,
          ask.deviceId,
          ask.from,
          ask.to,
          ask.readings,
        )
      case 'scan':
        return rows(
          `SELECT ts, fields, metadata, device_type, location, received_at FROM readings
             WHERE device_id = ? AND ts >= ? AND ts < ? ORDER BY ts LIMIT ?`,
          ask.deviceId,
          ask.from,
          ask.to,
          ask.limit,
        )
      case 'devices':
        return rows(`${eachDevice} SELECT id FROM device WHERE id IS NOT NULL`)
      case 'countSince':
        return rows(
          `${eachDevice} SELECT coalesce(sum(
             (SELECT count(*) FROM readings WHERE device_id = id AND ts >= ?)), 0) FROM device WHERE id IS NOT NULL`,
          ask.from,
        )
      case 'aggregate':
        return connection.execute(aggregate(ask))
      case 'close':
        connection.close()
        return undefined
    }
  }
}
