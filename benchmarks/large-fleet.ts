/** Fills a data directory with a large fleet, as if it had sent readings for weeks: to try pages and queries on it. */
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import Database from 'libsql'
import { loadConfig } from '../lib/config.ts'
import { createLog } from '../lib/log.ts'
import { openEmbedded } from '../lib/telemetry/embedded/open.ts'
import { lockDataDir } from '../local/data-dir.ts'
import { prepareDatabases } from '../local/databases.ts'
import { asksForHelp, numberArgument, parseOptions, runCommand, UsageError } from '../scripts/command.ts'

const help = `Fills a new data directory with devices and their readings.

  npm run bench:fill -- --data-dir <folder> [options]

  --data-dir <folder>  must not exist, or be empty
  --devices <n>        devices (100000)
  --readings <n>       readings of each (100), spread over the days
  --days <n>           days until now (30)
  --help               this

Start the server on it with DATA_DIR=<folder> npm start.
`

export interface Fleet {
  readonly devices: number
  /** Of each device. */
  readonly readings: number
  /** Until now. */
  readonly days: number
}

export const fillRegistry = (file: string, { devices }: Pick<Fleet, 'devices'>): void => {
  const db = new Database(file)
  const now = Date.now()
  db.exec(`
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${devices})
    INSERT INTO devices (name, device_type, status, location, created_at, updated_at, last_seen_at, name_folded, location_folded)
    SELECT 'device ' || i, 'type-' || (i % 20), iif(i % 50 = 0, 'inactive', 'active'), 'Hall ' || (i % 100),
      ${now} - 2592000000, ${now}, ${now} - (i * 7919 % 600000), 'device ' || i, 'hall ' || (i % 100) FROM n;
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${devices})
    INSERT INTO credentials (device_id, key_hash, key_prefix, created_at)
    SELECT i, 'none-' || i, 'none', ${now} FROM n;
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${devices * 3})
    INSERT INTO events (device_id, kind, at)
    SELECT 1 + i * 31 % ${devices}, iif(i % 2 = 0, 'online', 'offline'), ${now} - 1000 * (${devices * 3} - i) FROM n`)
  db.close()
}

const fillTelemetry = (file: string, { devices, readings, days }: Fleet): void => {
  const db = new Database(file)
  const spanNs = BigInt(days) * 86_400_000_000_000n
  const stepNs = spanNs / BigInt(readings)
  const begin = BigInt(Date.now()) * 1_000_000n - spanNs
  const slice = 1000
  db.exec('PRAGMA synchronous = OFF')
  for (let from = 1; from <= devices; from += slice) {
    // In the order of the primary key: the file grows at its end only.
    db.exec(`WITH RECURSIVE
        device(id) AS (SELECT ${from} UNION ALL SELECT id + 1 FROM device WHERE id < ${Math.min(from + slice - 1, devices)}),
        step(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM step WHERE n < ${readings - 1})
      INSERT INTO readings (device_id, ts, fields, received_at, device_type, location)
      SELECT id, ${begin} + n * ${stepNs} + id * 7919,
        '{"humidity":' || (40 + (id + n) % 40) || ',"temperature":' || (15 + (id * 7 + n) % 150 / 10.0) || '}',
        (${begin} + n * ${stepNs}) / 1000000, 'type-' || (id % 20), 'Hall ' || (id % 100)
      FROM device CROSS JOIN step`)
    if (from % 10_000 === 1) process.stderr.write(`${from - 1} of ${devices} devices\n`)
  }
  db.exec(`INSERT INTO accounting (device_id, received, stored, spooled, rejected, duplicates, last_at)
    SELECT id, ${readings}, ${readings}, 0, 0, 0, ${Date.now()} FROM (
      WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < ${devices}) SELECT id FROM n)`)
  db.close()
}

/** @param dataDir a folder without data. @throws {UsageError} where there is some. */
export async function fillFleet(dataDir: string, fleet: Fleet): Promise<void> {
  if (existsSync(join(dataDir, 'registry.db'))) throw new UsageError(`${dataDir} has data already.`)
  const unlock = await lockDataDir(dataDir)
  try {
    const log = createLog('warn')
    const file = join(dataDir, 'telemetry.db')
    await prepareDatabases(loadConfig({ DATA_DIR: dataDir }), log)
    // Makes the tables.
    await (await openEmbedded({ at: { file }, log, retentionMs: 0 })).close()
    fillRegistry(join(dataDir, 'registry.db'), fleet)
    fillTelemetry(file, fleet)
  } finally {
    unlock()
  }
}

const fill = async (): Promise<void> => {
  const { values } = parseOptions({
    options: {
      'data-dir': { type: 'string' },
      devices: { type: 'string', default: '100000' },
      readings: { type: 'string', default: '100' },
      days: { type: 'string', default: '30' },
    },
  })
  if (values['data-dir'] === undefined) throw new UsageError('--data-dir must name a new folder.')
  const whole = (name: 'devices' | 'readings' | 'days', max: number) =>
    numberArgument(`--${name}`, values[name], { min: 1, max, whole: true })
  await fillFleet(resolve(values['data-dir']), {
    devices: whole('devices', 1e6),
    readings: whole('readings', 1e6),
    days: whole('days', 3650),
  })
}

export const main = () =>
  runCommand(async () => {
    if (asksForHelp(process.argv.slice(2))) process.stdout.write(help)
    else await fill()
    return 0
  })
