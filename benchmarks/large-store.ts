/** Fills a data directory with the readings of a long time, in the form and in the order in which a server would have stored them. */
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import Database from 'libsql'
import { loadConfig } from '../lib/config.ts'
import { createLog } from '../lib/log.ts'
import { openEmbedded } from '../lib/telemetry/embedded/open.ts'
import type { Reading } from '../lib/telemetry/reading.ts'
import { lockDataDir } from '../local/data-dir.ts'
import { prepareDatabases } from '../local/databases.ts'
import { fillRegistry } from './large-fleet.ts'

export interface StoreSize {
  readonly devices: number
  /** Of each device, a whole number of {@link stepsAtOnce}. */
  readonly readings: number
}

/** Seconds between two readings of a device: 30 days have 10,000 of them. */
export const stepS = 259.2
const stepNs = 259_200_000_000n

/** Readings of a device that are folded into the tables together, as from a journal in which they waited. */
const stepsAtOnce = 4

/** Inserts of one transaction. */
const insertsAtOnce = 250

/** A device of 20 fields that sends every second of an hour. */
export const wideDevice = 1_000_000
const wideFields = 20
const wideReadings = 3600

/** ns since the epoch. */
const nowNs = () => BigInt(Date.now()) * 1_000_000n

const fillReadings = (file: string, { devices, readings }: StoreSize, onPart: (part: number) => void) => {
  const db = new Database(file)
  db.exec('PRAGMA synchronous = OFF; PRAGMA cache_size = -64000')
  const begin = nowNs() - BigInt(readings) * stepNs
  // Five fields in 95 bytes. Neighbouring values differ, as those of a sensor do.
  const insert = db.prepare(`WITH RECURSIVE
      device(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM device WHERE id < ${devices}),
      step(n) AS (SELECT ?1 UNION ALL SELECT n + 1 FROM step WHERE n < ?1 + ${stepsAtOnce - 1})
    INSERT INTO readings (device_id, ts, fields, received_at, device_type, location)
    SELECT id, ${begin} + n * ${stepNs} + id * 7919,
      '{"battery_level":' || (20 + (n / 50 + id) % 80) || ',"humidity":' || (40 + (id * 31 + n * 17) % 400 / 10.0)
        || ',"pressure":' || (980 + (id * 13 + n * 7) % 600 / 10.0) || ',"signal_strength":' || (-40 - (id + n * 3) % 50)
        || ',"temperature":' || (15 + (id * 7 + n * 101) % 1500 / 100.0) || '}',
      (${begin} + n * ${stepNs}) / 1000000, 'sensor', 'Hall ' || (id % 100)
    FROM device CROSS JOIN step`)
  for (let first = 0; first < readings; ) {
    db.exec('BEGIN')
    for (let at = 0; at < insertsAtOnce && first < readings; at += 1, first += stepsAtOnce)
      insert.run(BigInt(first))
    db.exec('COMMIT')
    onPart(first / readings)
  }
  db.exec(`INSERT INTO accounting (device_id, received, stored, spooled, rejected, duplicates, last_at)
    SELECT id, ${readings}, ${readings}, 0, 0, 0, ${Date.now()} FROM (
      WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < ${devices}) SELECT id FROM n)`)
  db.close()
}

const wideReading = (at: number, end: bigint): Reading => {
  const value = (field: number) => Math.round((20 + Math.sin(at / 100 + field)) * 1000) / 1000
  const entries = Array.from({ length: wideFields }, (_, field) => [`channel_${field + 10}`, value(field)])
  const time = end - BigInt(wideReadings - at) * 1_000_000_000n
  return { time, fields: Object.fromEntries(entries), metadata: undefined }
}

/**
 * Fills a folder without data; one that was filled stays as it is.
 * @param onPart gets the part that is done, up to 1.
 */
export async function fillStore(dataDir: string, size: StoreSize, onPart: (part: number) => void) {
  const mark = join(dataDir, 'filled')
  if (existsSync(mark)) return
  const unlock = await lockDataDir(dataDir)
  try {
    const log = createLog('warn')
    const file = join(dataDir, 'telemetry.db')
    await prepareDatabases(loadConfig({ DATA_DIR: dataDir }), log)
    // Makes the tables.
    const { store, close } = await openEmbedded({ at: { file }, log, retentionMs: 0 })
    const end = nowNs()
    const readings = Array.from({ length: wideReadings }, (_, at) => wideReading(at, end))
    const of = { deviceId: wideDevice, deviceType: 'wide', location: null, receivedAt: Date.now() }
    await store.write([{ ...of, readings }])
    await close()
    fillRegistry(join(dataDir, 'registry.db'), size)
    fillReadings(file, size, onPart)
    await writeFile(mark, '')
  } finally {
    unlock()
  }
}
