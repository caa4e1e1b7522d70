/** The tables of the embedded store, its ledger and its spool. */
import { alertCountTables } from './alert-counts.ts'
import { alertTables, renewTriggers, selectSlowTriggers } from './alert-tables.ts'
import type { Connection, FileConnection, ServerConnection } from './connection.ts'
import { isFileConnection } from './connection.ts'

/**
 * `readings` is WITHOUT ROWID: the readings of a device lie together in time order. `latest` keeps the newest value of each
 * field that the newest reading of its device does not have, so that a query never walks back through the history for a rare
 * field. Its rows of other fields may be old and do not count.
 */
const tables = `
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
    last_at INTEGER NOT NULL,
    warned INTEGER NOT NULL DEFAULT 0
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
  CREATE TABLE IF NOT EXISTS deletions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    device_id INTEGER NOT NULL,
    from_ts INTEGER NOT NULL,
    to_ts INTEGER NOT NULL,
    first_ts INTEGER NOT NULL,
    last_ts INTEGER NOT NULL,
    reached_ts INTEGER NOT NULL,
    deleted INTEGER NOT NULL DEFAULT 0,
    requested_at INTEGER NOT NULL,
    settles_at INTEGER NOT NULL,
    finished_at INTEGER
  );
  CREATE INDEX IF NOT EXISTS deletions_unfinished ON deletions (id) WHERE finished_at IS NULL;
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

/**
 * `folded`: the tables have every journal entry of this device up to this row of the journal. No row of `folded` is newer
 * than the newest row of the journal, so that an empty journal may start its `seq` again.
 */
const journalTables = `
  CREATE TABLE IF NOT EXISTS journal (seq INTEGER PRIMARY KEY, lines TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS folded (device_id INTEGER PRIMARY KEY, seq INTEGER NOT NULL);`

/** Adds a column to a table that an earlier version made. */
const addColumn = async (
  connection: Connection,
  table: string,
  name: string,
  type: string,
): Promise<void> => {
  const columns = await connection.execute({ sql: 'SELECT name FROM pragma_table_info(?)', args: [table] })
  if (columns.some(([column]) => column === name)) return
  await connection.script(`ALTER TABLE ${table} ADD COLUMN ${name} ${type}`).catch((error: unknown) => {
    // Another instance that starts at the same time was first.
    if (!/duplicate column/.test(String(error))) throw error
  })
}

/** Makes the tables and columns that are missing. */
export async function prepareTables(connection: ServerConnection | FileConnection): Promise<void> {
  connection.applyPragmas()
  await connection.script(tables + alertTables)
  if (isFileConnection(connection)) await connection.script(journalTables)
  await addColumn(connection, 'spool', 'spooled_at', 'INTEGER')
  await addColumn(connection, 'accounting', 'warned', 'INTEGER NOT NULL DEFAULT 0')
  await connection.script(alertCountTables)
  if ((await connection.execute({ sql: selectSlowTriggers })).length > 0)
    await connection.script(renewTriggers)
}
