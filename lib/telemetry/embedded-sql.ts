/** The embedded store's tables and statements, on any libSQL connection: of a thread of its own, or of a server. */
import type { Client, InStatement } from '@libsql/client'
import { AppError } from '../errors.ts'
import type { Aggregation } from './store.ts'

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
  | { op: 'check' }
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
 * WITHOUT ROWID: the readings of a device lie together in time order. `latest` keeps the newest value of each field, so
 * that asking for it never walks back through the history for a rare one.
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

const updateLatest = (condition: string) => `
  INSERT INTO latest (device_id, field, ts, type, value)
  SELECT r.value ->> 0, f.key, r.value ->> 1, f.type, f.atom
  FROM json_each(?) AS r, json_each(r.value, '$[2]') AS f WHERE ${condition}
  ON CONFLICT DO UPDATE SET ts = excluded.ts, type = excluded.type, value = excluded.value
  WHERE excluded.ts >= latest.ts`

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
const ofAll = /^(SQLITE_(FULL|IOERR|BUSY|LOCKED|READONLY|CANTOPEN|NOMEM|CORRUPT|NOTADB)|NETWORK_)/

/** The code of what a database threw. */
export const codeOf = (error: unknown): string => {
  // A server that is away is told as an error of ours, with the reason in its cause.
  const { code } = (error instanceof AppError ? error.cause : error) as { code?: unknown }
  return typeof code === 'string' ? code : 'UNKNOWN'
}

const pruneSlice = 5000

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

const aggregate = (ask: Extract<Ask, { op: 'aggregate' }>): InStatement => {
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

const history = (ask: Extract<Ask, { op: 'history' }>): InStatement => {
  const fields = ask.fields ?? []
  const wanted = fields.map(() => 'json_type(fields, ?) IS NOT NULL').join(' OR ')
  return {
    sql: `SELECT ts, fields, metadata FROM readings WHERE device_id = ? AND ts >= ? AND ts < ?
          ${wanted === '' ? '' : `AND (${wanted})`} ORDER BY ts ${ask.descending ? 'DESC' : 'ASC'} LIMIT ?`,
    args: [ask.deviceId, ask.from, ask.to, ...fields.map(pathOf), ask.limit],
  }
}

/** Refuses every write, and leaves a file as it is. */
export async function readOnly(client: Client): Promise<void> {
  await client.execute('PRAGMA query_only = ON')
}

/** Makes the tables. @param file on a file every write reaches the disk before it is answered. */
export async function prepareTables(client: Client, file: boolean): Promise<void> {
  if (file) {
    await client.execute('PRAGMA journal_mode = WAL')
    await client.execute('PRAGMA synchronous = FULL')
  }
  await client.executeMultiple(schema)
  const columns = await client.execute("SELECT name FROM pragma_table_info('spool')")
  if (columns.rows.some((row) => row[0] === 'spooled_at')) return
  await client.execute('ALTER TABLE spool ADD COLUMN spooled_at INTEGER').catch((error: unknown) => {
    // Another instance that starts at the same time was first.
    if (!/duplicate column/.test(String(error))) throw error
  })
}

/** Answers what is asked, on this connection; it has to be opened with `intMode: 'bigint'`. */
export function answerOn(client: Client): (ask: Ask) => Promise<unknown> {
  /** The writes of a group as statements of one transaction. */
  const statementsOf = (into: 'readings' | 'spool', messages: readonly Message[]): InStatement[] => {
    const statements: InStatement[] = []
    const add = (sql: string, json: string) => statements.push({ sql, args: [json] })
    const plain = messages.filter(({ tokens, count }) => tokens === undefined && count > 0)
    const keyed = messages.filter(({ tokens, count }) => tokens !== undefined && count > 0)
    if (plain.length > 0 && into === 'readings') {
      const json = `[${plain.map(({ rows }) => rows).join(',')}]`
      add(insertReadings('true'), json)
      add(updateLatest('true'), json)
    } else if (plain.length > 0) {
      const all = plain.map(({ deviceId, count, receivedAt, rows }) => [deviceId, count, receivedAt, rows])
      add(insertSpool, JSON.stringify(all))
    }
    const counted = messages.filter(({ received }) => received > 0)
    if (keyed.length > 0) {
      const json = `[${keyed.map(({ rows }) => rows).join(',')}]`
      add(noteKeys, json)
      if (into === 'readings') {
        add(insertReadings(fresh('value')), json)
        add(updateLatest(fresh('r.value')), json)
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
    if (into === 'spool') statements.push(lastSpooled)
    return statements
  }

  const write = async (into: 'readings' | 'spool', messages: readonly Message[]) => {
    const statements = statementsOf(into, messages)
    if (statements.length === 0) return { duplicates: [], lastId: 0 }
    const results = await client.batch(statements, 'write')
    const found = statements.findIndex(
      (statement) => typeof statement === 'object' && statement.sql === findDuplicates,
    )
    return {
      duplicates: (results[found]?.rows ?? []).map((row) => String(row[0])),
      lastId: into === 'spool' ? Number(results.at(-1)?.rows[0]?.[0] ?? 0) : 0,
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
    client.batch(
      [
        { sql: countSettled, args: [settled] },
        { sql: deleteSpooled, args: [settled] },
      ],
      'write',
    )

  /** Takes the readings of a range out of the spool, message by message; each keeps its place. */
  const dropSpooled = async (deviceId: number, from: bigint, to: bigint): Promise<void> => {
    let after = 0
    for (;;) {
      const slice = await client.execute({
        sql: 'SELECT id, at, rows, spooled_at FROM spool WHERE device_id = ? AND id > ? ORDER BY id LIMIT 50',
        args: [deviceId, after],
      })
      if (slice.rows.length === 0) return
      const statements: InStatement[] = []
      let dropped = 0
      for (const row of slice.rows) {
        after = Number(row[0])
        const readings = JSON.parse(`[${row[2]}]`) as [number, string][]
        const kept = readings.filter(([, ts]) => BigInt(ts) < from || BigInt(ts) >= to)
        if (kept.length === readings.length) continue
        dropped += readings.length - kept.length
        statements.push({ sql: 'DELETE FROM spool WHERE id = ?', args: [after] })
        if (kept.length === 0) continue
        const text = kept.map((reading) => JSON.stringify(reading)).join(',')
        statements.push({
          sql: `INSERT INTO spool (id, device_id, count, bytes, at, rows, spooled_at)
                VALUES (?1, ?2, ?3, octet_length(?5), ?4, ?5, ?6)`,
          args: [after, deviceId, kept.length, row[1] ?? 0, text, row[3] ?? null],
        })
      }
      if (dropped === 0) continue
      const change: AccountRow = [deviceId, 0, dropped, -dropped, 0, 0, 0]
      await client.batch([{ sql: account, args: [JSON.stringify([change])] }, ...statements], 'write')
    }
  }

  /** Deletes at most {@link pruneSlice} readings that are too old. Answers whether there may be more. */
  const prune = async (before: bigint): Promise<boolean> => {
    const old = await client.execute({
      sql: `SELECT device_id, min(ts) AS ts FROM latest GROUP BY device_id
            HAVING EXISTS (SELECT 1 FROM readings r WHERE r.device_id = latest.device_id AND r.ts < ?) LIMIT 1`,
      args: [before],
    })
    const deviceId = old.rows[0]?.device_id
    if (deviceId === undefined || deviceId === null) {
      await client.execute({ sql: 'DELETE FROM latest WHERE ts < ?', args: [before] })
      return false
    }
    await client.execute({
      sql: `DELETE FROM readings WHERE device_id = ?1 AND ts IN
            (SELECT ts FROM readings WHERE device_id = ?1 AND ts < ?2 ORDER BY ts LIMIT ${pruneSlice})`,
      args: [deviceId, before],
    })
    return true
  }

  const remove = (deviceId: number, from: bigint, to: bigint): Promise<unknown> =>
    client.batch(
      [
        {
          sql: 'DELETE FROM readings WHERE device_id = ? AND ts >= ? AND ts < ?',
          args: [deviceId, from, to],
        },
        { sql: 'DELETE FROM latest WHERE device_id = ?', args: [deviceId] },
        // With max(), the other columns are those of the row that has it.
        {
          sql: `INSERT INTO latest (device_id, field, ts, type, value)
                SELECT device_id, key, max(ts), type, atom FROM readings, json_each(fields)
                WHERE device_id = ? GROUP BY key`,
          args: [deviceId],
        },
      ],
      'write',
    )

  /** Rows as plain arrays: they may be copied to another thread. */
  const rows = async (statement: InStatement) =>
    (await client.execute(statement)).rows.map((row) => Array.from(row))

  return async (ask: Ask): Promise<unknown> => {
    switch (ask.op) {
      case 'write':
        return writeGroup(ask.into, ask.messages)
      case 'count':
        await client.execute({ sql: account, args: [JSON.stringify([ask.change])] })
        return undefined
      case 'reserveKeys': {
        const [, found] = await client.batch(
          [
            { sql: reserveKeys, args: [ask.keys] },
            { sql: reservedKeys, args: [ask.keys] },
          ],
          'write',
        )
        return found?.rows.map((row) => Array.from(row))
      }
      case 'note': {
        const results = await client.batch(
          [
            { sql: settleKeys, args: [ask.keys] },
            { sql: account, args: [JSON.stringify([ask.change])] },
            { sql: accountLost, args: [ask.keys, ask.deviceId] },
            { sql: countLost, args: [ask.keys] },
          ],
          'write',
        )
        return Number(results.at(-1)?.rows[0]?.[0] ?? 0)
      }
      case 'account':
        return rows({
          sql: `SELECT total(received), total(stored), total(spooled), total(rejected), total(duplicates)
                FROM accounting WHERE ?1 IS NULL OR device_id = ?1`,
          args: [ask.deviceId ?? null],
        })
      case 'lastArrival':
        return rows('SELECT coalesce(max(last_at), 0) FROM accounting')
      case 'spool':
        return rows(
          `SELECT readings, bytes, (SELECT coalesce(spooled_at, at) FROM spool ORDER BY id LIMIT 1) FROM spool_size`,
        )
      case 'spooled':
        return rows({
          sql: `SELECT id, device_id, at, rows FROM spool WHERE id IN (
                  SELECT id FROM (SELECT id, bytes, sum(bytes) OVER (ORDER BY id) AS total
                    FROM (SELECT id, bytes FROM spool ORDER BY id LIMIT ?))
                  WHERE total - bytes < ?) ORDER BY id`,
          args: [ask.maxMessages, ask.maxBytes],
        })
      case 'settle':
        return settle(JSON.stringify(ask.settled))
      case 'dropSpooled':
        return dropSpooled(ask.deviceId, ask.from, ask.to)
      case 'noteRemoved':
        await client.batch(
          [
            { sql: 'DELETE FROM removed WHERE at < ?', args: [ask.forget] },
            {
              sql: 'INSERT INTO removed (device_id, from_ts, to_ts, at) VALUES (?, ?, ?, ?)',
              args: [ask.deviceId, ask.from, ask.to, ask.at],
            },
          ],
          'write',
        )
        return undefined
      case 'removedSince':
        return rows({
          sql: 'SELECT from_ts, to_ts FROM removed WHERE device_id = ? AND at >= ?',
          args: [ask.deviceId, ask.at],
        })
      case 'prune':
        return prune(ask.before)
      case 'forgetKeys':
        return rows({
          sql: `DELETE FROM seen WHERE (device_id, key) IN
                  (SELECT device_id, key FROM seen WHERE at < ? LIMIT ${pruneSlice}) RETURNING 1`,
          args: [ask.before],
        })
      case 'remove':
        await remove(ask.deviceId, ask.from, ask.to)
        return undefined
      case 'check':
        return (await rows('SELECT 1')).length
      case 'history':
        return rows(history(ask))
      case 'latest':
        // The order breaks ties and bounds what a device can make others read.
        return rows({
          sql: 'SELECT field, ts, type, value FROM latest WHERE device_id = ? ORDER BY ts DESC, field LIMIT 1000',
          args: [ask.deviceId],
        })
      case 'countReadings':
        return rows({
          sql: 'SELECT count(*) FROM readings WHERE device_id = ? AND ts >= ? AND ts < ?',
          args: [ask.deviceId, ask.from, ask.to],
        })
      case 'sliceEnd':
        return rows({
          sql: `SELECT ts FROM readings WHERE device_id = ? AND ts >= ? AND ts < ?
                ORDER BY ts DESC LIMIT 1 OFFSET ?`,
          args: [ask.deviceId, ask.from, ask.to, ask.readings],
        })
      case 'scan':
        return rows({
          sql: `SELECT ts, fields, metadata, device_type, location, received_at FROM readings
                WHERE device_id = ? AND ts >= ? AND ts < ? ORDER BY ts LIMIT ?`,
          args: [ask.deviceId, ask.from, ask.to, ask.limit],
        })
      case 'devices':
        return rows('SELECT DISTINCT device_id FROM latest ORDER BY device_id')
      case 'countSince':
        // Device by device along the primary key: only what is counted is read.
        return rows({
          sql: `SELECT coalesce(sum((SELECT count(*) FROM readings r WHERE r.device_id = d.device_id AND r.ts >= :from)), 0)
                FROM (SELECT device_id FROM latest WHERE ts >= :from GROUP BY device_id) d`,
          args: { from: ask.from },
        })
      case 'aggregate':
        return rows(aggregate(ask))
      case 'close':
        client.close()
        return undefined
    }
  }
}
