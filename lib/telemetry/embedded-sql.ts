/** The embedded store's tables and statements. */
import type { Client } from '@libsql/client'
import { AppError } from '../errors.ts'
import type { Message } from './embedded-message.ts'
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
  /** Runs statements without arguments. */
  script(sql: string): Promise<void>
  /** Settings of a connection that writes; every write reaches the disk before it is answered. */
  tune(): void
  close(): void
}

/** Runs a statement of a transaction. */
export type Run = (statement: Statement) => Row[]

/** How messages are written, and what is to be done when that is committed, with the rows of each statement. */
export type Plan = (
  messages: readonly Message[],
  changedElsewhere: boolean,
) => { readonly statements: readonly Statement[]; done(results: readonly Row[][]): unknown }

export interface ServerConnection extends Connection {
  /** Runs statements as one transaction, all or none; answers the rows of each. */
  write(statements: readonly Statement[]): Promise<Row[][]>
}

/** A file is used by nobody who waits between two statements, so that one may depend on what another one found. */
export interface Transactions {
  /** @param work gets whether the database may have been changed by another connection since the last write. */
  transaction<T>(work: (run: Run, changedElsewhere: boolean) => T): T
  /** The same for what may be undone when the machine fails, as long as nothing newer is kept: it does not wait for the disk. */
  rearrange<T>(work: (run: Run, changedElsewhere: boolean) => T): T
}

export interface FileConnection extends Connection, Transactions {
  /** Leaves the file as it was. */
  rehearse<T>(work: (run: Run) => T): T
}

/** The database of a server, which looks after its own settings. */
export const onServer = (client: Client): ServerConnection => ({
  execute: async ({ sql, args = [] }) =>
    (await client.execute({ sql, args })).rows.map((row) => Array.from(row)),
  async write(statements) {
    if (statements.length === 0) return []
    const batch = statements.map(({ sql, args = [] }) => ({ sql, args }))
    const results = await client.batch(batch, 'write')
    return results.map(({ rows }) => rows.map((row) => Array.from(row)))
  },
  script: (sql) => client.executeMultiple(sql),
  tune: () => undefined,
  close: () => client.close(),
})

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

/** Messages as one text, each a line: that is handed to a thread more cheaply than a list. */
export interface Lines {
  readonly count: number
  readonly text: string
}

/** What the database is asked. */
export type Ask =
  | Change
  /** What waits in the journal: it is only told, or it is put in its place for this question, or the question is not about it. */
  | (Read & { journal?: 'tell' | 'fold' })
  | { op: 'close' }

/** What the answer to a question is where something waits in the journal. */
export const waiting = 'waiting'

export type Change =
  | { op: 'write'; into: 'readings' | 'spool'; messages: Lines }
  /** Small ones without keys, for the journal. */
  | { op: 'append'; messages: Lines }
  /** Some of what waits in the journal, of one device or of all; answers whether there is more. */
  | { op: 'fold'; deviceId: number | undefined }
  | { op: 'count'; change: AccountRow }
  /** `keys`: JSON rows of device, key, token, arrival and place; the answer has the place and the token that stands there. */
  | { op: 'reserveKeys'; keys: string }
  /** `keys`: the fifth is 1 for a reading that counts as stored, else 0; the answer is how many were stored before. */
  | { op: 'note'; keys: string; deviceId: number; change: AccountRow }
  /** Ids, each with how many of its readings were refused. */
  | { op: 'settle'; settled: [id: number, rejected: number][] }
  | { op: 'dropSpooled'; deviceId: number; from: bigint; to: bigint }
  /** `forget`: what was removed before, ms since the epoch, is remembered no longer. */
  | { op: 'noteRemoved'; deviceId: number; from: bigint; to: bigint; at: number; forget: number }
  | { op: 'prune'; before: bigint }
  | { op: 'forgetKeys'; before: number }
  | { op: 'remove'; deviceId: number; from: bigint; to: bigint }
  /** `write`: a little is written, as durably as readings are. */
  | { op: 'check'; write: boolean }

export type Read =
  | { op: 'account'; deviceId: number | undefined }
  | { op: 'lastArrival' }
  | { op: 'spool' }
  | { op: 'spooled'; maxMessages: number; maxBytes: number }
  | { op: 'removedSince'; deviceId: number; at: number }
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
export const schema = `
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
export const fresh = (row: string) => `(${row} ->> 7 IS NULL OR EXISTS (SELECT 1 FROM seen
    WHERE seen.device_id = ${row} ->> 0 AND seen.key = ${row} ->> 7 AND seen.token = ${row} ->> 8))`

const insertInto = (source: string) => `
  INSERT INTO readings (device_id, ts, fields, metadata, received_at, device_type, location) ${source}
  ON CONFLICT DO UPDATE SET
    fields = json_patch(fields, excluded.fields),
    metadata = iif(metadata IS NULL OR excluded.metadata IS NULL, coalesce(excluded.metadata, metadata),
                   json_patch(metadata, excluded.metadata)),
    received_at = excluded.received_at,
    device_type = excluded.device_type,
    location = excluded.location`

export const insertReadings = (condition: string) =>
  insertInto(`SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6
    FROM json_each(?) WHERE ${condition}`)

/** Rows of one {@link insertBound}. */
export const boundRows = 16
/** So many rows, each column of each bound: that costs two thirds of what it costs to take them out of JSON. */
export const insertBound = insertInto(`VALUES ${Array(boundRows).fill('(?, ?, ?, ?, ?, ?, ?)').join(', ')}`)

/** The time of a device's newest reading. */
const newestOf = (device: string) => `(SELECT max(ts) FROM readings WHERE device_id = ${device})`

const keepLatest = `ON CONFLICT DO UPDATE SET ts = excluded.ts, type = excluded.type, value = excluded.value
  WHERE excluded.ts >= latest.ts`

/** A field as JSON: as a value of SQL, text would end at its first NUL. */
export const asJson = (fields: string) => `'json', ${fields} -> ('$."' || f.key || '"')`

/** Before readings are written: keeps what the newest one of each device has and the newest of those to come has not. */
export const keepDropped = (condition: string) => `
  INSERT INTO latest (device_id, field, ts, type, value)
  SELECT p.device_id, f.key, p.ts, ${asJson('p.fields')}
  FROM (SELECT value ->> 0 AS device, max(CAST(value ->> 1 AS INTEGER)) AS ts, value ->> 2 AS fields FROM json_each(?)
    WHERE ${condition} GROUP BY device) AS n
  CROSS JOIN readings AS p ON p.device_id = n.device AND p.ts = ${newestOf('n.device')}
  CROSS JOIN json_each(p.fields) AS f
  WHERE p.ts < n.ts AND json_type(n.fields, '$."' || f.key || '"') IS NULL ${keepLatest}`

/** After readings are written: keeps what those have that are not the newest of their device, and the newest has not. */
export const keepOlder = (condition: string) => `
  INSERT INTO latest (device_id, field, ts, type, value)
  SELECT n.device_id, f.key, r.value ->> 1, ${asJson('(r.value ->> 2)')}
  FROM json_each(?) AS r
  CROSS JOIN readings AS n ON n.device_id = r.value ->> 0 AND n.ts = ${newestOf('r.value ->> 0')}
  CROSS JOIN json_each(r.value, '$[2]') AS f
  WHERE n.ts > r.value ->> 1 AND json_type(n.fields, '$."' || f.key || '"') IS NULL AND ${condition} ${keepLatest}`

export const newestReadings = `
  SELECT n.device_id, n.ts, n.fields FROM json_each(?) AS d
  CROSS JOIN readings AS n ON n.device_id = d.value AND n.ts = ${newestOf('d.value')}`

/** All devices that have readings, by one step along the primary key each. */
export const eachDevice = `WITH RECURSIVE device(id) AS (
    SELECT min(device_id) FROM readings
    UNION ALL SELECT (SELECT min(device_id) FROM readings WHERE device_id > id) FROM device WHERE id IS NOT NULL)`

export const noteKeys = `
  INSERT INTO seen (device_id, key, token, at)
  SELECT value ->> 0, value ->> 7, value ->> 8, value ->> 4 FROM json_each(?) WHERE value ->> 7 IS NOT NULL
  ON CONFLICT DO NOTHING`

/** Begins the token of a key whose reading is not stored yet; its time in ns follows. */
export const reserved = 'reserved:'

export const reserveKeys = `
  INSERT INTO seen (device_id, key, token, at)
  SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?) WHERE true
  ON CONFLICT DO NOTHING`

export const reservedKeys = `
  SELECT value ->> 4, seen.token FROM json_each(?) JOIN seen ON seen.device_id = value ->> 0 AND seen.key = value ->> 1`

/** Of many that stored a reading under one reservation the first one counts. */
export const settleKeys = `
  INSERT INTO seen (device_id, key, token, at)
  SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?) WHERE true
  ON CONFLICT DO UPDATE SET token = excluded.token WHERE seen.token LIKE '${reserved}%'`

export const countLost = `SELECT count(*) AS lost FROM json_each(?1) WHERE value ->> 4 AND NOT EXISTS (SELECT 1 FROM seen
    WHERE seen.device_id = value ->> 0 AND seen.key = value ->> 1 AND seen.token = value ->> 2)`

const addToAccounts = `ON CONFLICT DO UPDATE SET
    received = received + excluded.received,
    stored = stored + excluded.stored,
    spooled = spooled + excluded.spooled,
    rejected = rejected + excluded.rejected,
    duplicates = duplicates + excluded.duplicates,
    last_at = max(last_at, excluded.last_at)`

export const account = `
  INSERT INTO accounting (device_id, received, stored, spooled, rejected, duplicates, last_at)
  SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6
  FROM json_each(?) WHERE true ${addToAccounts}`

export const accountLost = `
  INSERT INTO accounting (device_id, received, stored, spooled, rejected, duplicates, last_at)
  SELECT ?2, 0, -lost, 0, 0, lost, 0 FROM (${countLost}) WHERE true ${addToAccounts}`

export const accountKeyed = (into: 'readings' | 'spool') => `
  INSERT INTO accounting (device_id, received, stored, spooled, rejected, duplicates, last_at)
  SELECT device, 0, ${into === 'readings' ? 'sum(fresh), 0' : '0, sum(fresh)'}, 0, sum(NOT fresh), 0
  FROM (SELECT value ->> 0 AS device, ${fresh('value')} AS fresh FROM json_each(?)) WHERE true
  GROUP BY device ${addToAccounts}`

export const findDuplicates = `SELECT value ->> 8 FROM json_each(?) WHERE NOT ${fresh('value')}`

/** Milliseconds since the epoch. A replayed message arrived long before it is spooled. */
const spooledNow = "CAST(unixepoch('subsec') * 1000 AS INTEGER)"

export const insertSpool = `
  INSERT INTO spool (device_id, count, bytes, at, rows, spooled_at)
  SELECT value ->> 0, value ->> 1, octet_length(value ->> 3), value ->> 2, value ->> 3, ${spooledNow}
  FROM json_each(?)`

export const insertSpoolKeyed = `
  INSERT INTO spool (device_id, count, bytes, at, rows, spooled_at)
  SELECT value ->> 0, 1, octet_length(value), value ->> 4, value, ${spooledNow}
  FROM json_each(?) WHERE ${fresh('value')}`

export const lastSpooled = 'SELECT coalesce(max(id), 0) FROM spool'

// What another process has settled is no longer there, and counts once.
export const countSettled = `
  INSERT INTO accounting (device_id, received, stored, spooled, rejected, duplicates, last_at)
  SELECT device_id, 0, sum(count - refused), -sum(count), sum(refused), 0, 0
  FROM (SELECT device_id, count, min(count, value ->> 1) AS refused
    FROM json_each(?) CROSS JOIN spool ON spool.id = value ->> 0) WHERE true
  GROUP BY device_id ${addToAccounts}`
export const deleteSpooled = 'DELETE FROM spool WHERE id IN (SELECT value ->> 0 FROM json_each(?))'

/** Conditions of the disk or the network, not of a reading: trying each of a group for itself would only fail as often. */
export const ofAll = /^(SQLITE_(FULL|IOERR|BUSY|LOCKED|READONLY|CANTOPEN|NOMEM|CORRUPT|NOTADB)|NETWORK_)/

/** The code of what a database threw. */
export const codeOf = (error: unknown): string => {
  // A server that is away is told as an error of ours, with the reason in its cause.
  const { code } = (error instanceof AppError ? error.cause : error) as { code?: unknown }
  return typeof code === 'string' ? code : 'UNKNOWN'
}

export const pruneSlice = 5000

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

/** The statement that answers a question. */
export function statementOf(ask: Read): Statement {
  const of = (sql: string, ...args: (number | bigint | null)[]): Statement => ({ sql, args })
  switch (ask.op) {
    case 'account':
      return of(
        `SELECT total(received), total(stored), total(spooled), total(rejected), total(duplicates)
           FROM accounting WHERE ?1 IS NULL OR device_id = ?1`,
        ask.deviceId ?? null,
      )
    case 'lastArrival':
      return of('SELECT coalesce(max(last_at), 0) FROM accounting')
    case 'spool':
      return of(
        `SELECT readings, bytes, (SELECT coalesce(spooled_at, at) FROM spool ORDER BY id LIMIT 1) FROM spool_size`,
      )
    case 'spooled':
      return of(
        `SELECT id, device_id, at, rows FROM spool WHERE id IN (
           SELECT id FROM (SELECT id, bytes, sum(bytes) OVER (ORDER BY id) AS total
             FROM (SELECT id, bytes FROM spool ORDER BY id LIMIT ?))
           WHERE total - bytes < ?) ORDER BY id`,
        ask.maxMessages,
        ask.maxBytes,
      )
    case 'removedSince':
      return of('SELECT from_ts, to_ts FROM removed WHERE device_id = ? AND at >= ?', ask.deviceId, ask.at)
    case 'history':
      return history(ask)
    case 'latest':
      // The newest reading as it is, then what it has not.
      return of(
        `WITH n AS (SELECT ts, fields FROM readings WHERE device_id = ?1 ORDER BY ts DESC LIMIT 1)
         SELECT NULL, ts, 'reading', fields FROM n
         UNION ALL
         SELECT * FROM (SELECT field, l.ts, type, value FROM n CROSS JOIN latest AS l
           WHERE device_id = ?1 AND json_type(n.fields, '$."' || field || '"') IS NULL
           ORDER BY l.ts DESC, field LIMIT ${maxLatest})`,
        ask.deviceId,
      )
    case 'countReadings':
      return of(
        'SELECT count(*) FROM readings WHERE device_id = ? AND ts >= ? AND ts < ?',
        ask.deviceId,
        ask.from,
        ask.to,
      )
    case 'sliceEnd':
      return of(
        `SELECT ts FROM readings WHERE device_id = ? AND ts >= ? AND ts < ? ORDER BY ts DESC LIMIT 1 OFFSET ?`,
        ask.deviceId,
        ask.from,
        ask.to,
        ask.readings,
      )
    case 'scan':
      return of(
        `SELECT ts, fields, metadata, device_type, location, received_at FROM readings
           WHERE device_id = ? AND ts >= ? AND ts < ? ORDER BY ts LIMIT ?`,
        ask.deviceId,
        ask.from,
        ask.to,
        ask.limit,
      )
    case 'devices':
      return of(`${eachDevice} SELECT id FROM device WHERE id IS NOT NULL`)
    case 'countSince':
      return of(
        `${eachDevice} SELECT coalesce(sum(
           (SELECT count(*) FROM readings WHERE device_id = id AND ts >= ?)), 0) FROM device WHERE id IS NOT NULL`,
        ask.from,
      )
    case 'aggregate':
      return aggregate(ask)
  }
}
