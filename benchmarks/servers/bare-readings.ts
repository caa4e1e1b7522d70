/**
 * The floor of batches: a prepared insert of the rows that the store keeps, each batch durable before the next. Its arguments: a
 * folder, and the readings of a batch.
 */
import { join } from 'node:path'
import Database from 'libsql'
import { serve } from '../process.ts'
import type { InsertTimes } from './bare-insert.ts'

const devices = 1000

serve(async () => {
  const db = new Database(join(process.argv[2] ?? '', 'bare-readings.db'))
  db.exec(`
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE readings (
      device_id INTEGER NOT NULL, ts INTEGER NOT NULL, fields TEXT NOT NULL, metadata TEXT, received_at INTEGER NOT NULL,
      device_type TEXT NOT NULL, location TEXT, PRIMARY KEY (device_id, ts)
    ) WITHOUT ROWID`)
  const insert = db.prepare('INSERT INTO readings VALUES (?, ?, ?, ?, ?, ?, ?)')
  const fields =
    '{"battery_level":87,"humidity":65.123,"pressure":1013.123,"signal_strength":-52,"temperature":23.123}'
  const metadata = '{"location":"Living Room, at window","sensor_status":"active","unit":"SI"}'
  const size = Number(process.argv[3])
  let count = 0
  let ts = BigInt(Date.now()) * 1_000_000n
  const insertBatch = db.transaction(() => {
    count += 1
    for (let at = 0; at < size; at++) {
      ts += 1n
      insert.run(count % devices, ts, fields, metadata, Date.now(), 'bench_sensor', 'Living Room')
    }
  })
  const insertFor = async (seconds: number): Promise<InsertTimes> => {
    const times: number[] = []
    const end = performance.now() + seconds * 1000
    for (let now = performance.now(); now < end; ) {
      insertBatch()
      const after = performance.now()
      times.push(after - now)
      now = after
    }
    return times
  }
  return { facts: {}, ask: (_question, seconds) => insertFor(seconds), end: async () => void db.close() }
})
