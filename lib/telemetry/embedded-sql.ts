/** The embedded store's tables and statements, on any libSQL connection: of a thread of its own, or of a server. */
import type { Client, InStatement } from '@libsql/client'
import type { Aggregation } from './store.ts'

/** What the database is asked. */
export type Ask =
  | { op: 'write'; groups: string[] }
  | { op: 'prune'; before: bigint }
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
  | { op: 'count'; deviceId: number }
  | { op: 'countDevices' }
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
  ) WITHOUT ROWID;`

const insertReadings = `
  INSERT INTO readings (device_id, ts, fields, metadata, received_at, device_type, location)
  SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6
  FROM json_each(?) WHERE true
  ON CONFLICT DO UPDATE SET
    fields = json_patch(fields, excluded.fields),
    metadata = iif(metadata IS NULL OR excluded.metadata IS NULL, coalesce(excluded.metadata, metadata),
                   json_patch(metadata, excluded.metadata)),
    received_at = excluded.received_at,
    device_type = excluded.device_type,
    location = excluded.location`

const updateLatest = `
  INSERT INTO latest (device_id, field, ts, type, value)
  SELECT r.value ->> 0, f.key, r.value ->> 1, f.type, f.atom
  FROM json_each(?) AS r, json_each(r.value, '$[2]') AS f WHERE true
  ON CONFLICT DO UPDATE SET ts = excluded.ts, type = excluded.type, value = excluded.value
  WHERE excluded.ts >= latest.ts`

/** Conditions of the disk, not of a reading: trying the members of a group one by one would only fail as often. */
const ofTheDisk = /^SQLITE_(FULL|IOERR|BUSY|LOCKED|READONLY|CANTOPEN|NOMEM|CORRUPT|NOTADB)/

/** The code of what a database threw. */
export const codeOf = (error: unknown): string => {
  const { code } = error as { code?: unknown }
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

/** Makes the tables. @param file on a file every write reaches the disk before it is answered. */
export async function prepareTables(client: Client, file: boolean): Promise<void> {
  if (file) {
    await client.execute('PRAGMA journal_mode = WAL')
    await client.execute('PRAGMA synchronous = FULL')
  }
  await client.executeMultiple(schema)
}

/** Answers what is asked, on this connection; it has to be opened with `intMode: 'bigint'`. */
export function answerOn(client: Client): (ask: Ask) => Promise<unknown> {
  const write = (json: string): Promise<unknown> =>
    client.batch(
      [
        { sql: insertReadings, args: [json] },
        { sql: updateLatest, args: [json] },
      ],
      'write',
    )

  /** Writes the groups in one transaction; where that fails, each for itself. Answers the places of those that failed. */
  const writeGroups = async (groups: string[]): Promise<{ failed: number[]; code: string }> => {
    try {
      await write(`[${groups.join(',')}]`)
      return { failed: [], code: '' }
    } catch (error) {
      let code = codeOf(error)
      if (groups.length === 1 || ofTheDisk.test(code)) return { failed: groups.map((_, at) => at), code }
      const failed: number[] = []
      for (const [at, group] of groups.entries()) {
        await write(`[${group}]`).catch((reason: unknown) => {
          failed.push(at)
          code = codeOf(reason)
        })
      }
      return { failed, code }
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
        return writeGroups(ask.groups)
      case 'prune':
        return prune(ask.before)
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
      case 'count':
        return rows({ sql: 'SELECT count(*) FROM readings WHERE device_id = ?', args: [ask.deviceId] })
      case 'countDevices':
        return rows('SELECT count(DISTINCT device_id) FROM latest')
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
