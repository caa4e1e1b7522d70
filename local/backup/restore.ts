/** Restores a backup: extracts it, checks the databases in it by opening them, and exchanges those of the data directory for them. */
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import Database from 'libsql'
import * as z from 'zod'
import type { Config } from '../../lib/config.ts'
import { root } from '../../lib/root.ts'
import { version } from '../../lib/version.ts'
import { databaseFiles } from '../database-files.ts'
import { extractArchive, type Manifest, readManifest } from './archive.ts'
import { schemaOf } from './backup.ts'
import { discardRestored, exchange, restoredFile } from './exchange.ts'
import { verifyDatabase } from './snapshot.ts'

const Journal = z.object({ entries: z.array(z.object({ when: z.number() })) })

/** When the newest migration that this version knows was made, ms since the epoch. */
const knownSchema = async (): Promise<number> => {
  const journal = new URL('lib/registry/migrations/meta/_journal.json', root)
  const { entries } = Journal.parse(JSON.parse(await readFile(journal, 'utf8')))
  return Math.max(...entries.map(({ when }) => when))
}

const numbersOf = (text: string) => text.split(/[.-]/).map((part) => Number.parseInt(part, 10) || 0)

/** Whether one version such as `1.10.0` is newer than another. */
const isNewer = (one: string, other: string): boolean => {
  const [numbers, others] = [numbersOf(one), numbersOf(other)]
  const at = numbers.findIndex((number, index) => number !== (others[index] ?? 0))
  return at >= 0 && (numbers[at] ?? 0) > (others[at] ?? 0)
}

const refuseNewer = (archive: string) =>
  new Error(`${archive} was made by a newer version of IoTFlow: restore it with that one.`)

/** Ids that no device gets after a restore: more than were given since the backup. */
const skippedIds = 10_000

/**
 * InfluxDB and Mosquitto may know devices that were registered after the backup: no new device may get their ids, and with them
 * their readings or their account.
 */
const skipIds = (registry: string): void => {
  const db = new Database(registry)
  db.exec(`UPDATE sqlite_sequence SET seq = seq + ${skippedIds} WHERE name = 'devices'`)
  db.close()
}

export interface RestoreOptions {
  /** Called before databases that exist are replaced; throws to keep them. */
  readonly confirmReplacing: (paths: readonly string[]) => Promise<void>
}

/**
 * Restores a backup. The data directory must be locked.
 * @throws {Error} one sentence; the databases are then as they were.
 */
export async function restoreBackup(
  config: Config,
  archive: string,
  { confirmReplacing }: RestoreOptions,
): Promise<Manifest> {
  const files = databaseFiles(config)
  if (files.length === 0)
    throw new Error('The databases are on the libSQL server of DATABASE_URL: restore them there.')
  const { manifest } = await readManifest(archive)
  if (isNewer(manifest.version, version) || manifest.schema > (await knownSchema()))
    throw refuseNewer(archive)
  const existing = files.map(({ path }) => path).filter((path) => existsSync(path))
  if (existing.length > 0) await confirmReplacing(existing)
  const pathOf = (name: string) => {
    const file = files.find((one) => one.name === name)
    if (file === undefined) throw new Error(`${archive} holds a ${name} database, which has no place here.`)
    return restoredFile(file.path)
  }
  try {
    for (const { path } of files) await discardRestored(path)
    await extractArchive(archive, pathOf)
    for (const { name } of manifest.files) verifyDatabase(name, pathOf(name))
    if (schemaOf(pathOf('registry')) > (await knownSchema())) throw refuseNewer(archive)
    if (manifest.influxdb || config.influx !== undefined || typeof config.mqtt === 'object')
      skipIds(pathOf('registry'))
  } catch (error) {
    for (const { path } of files) await discardRestored(path)
    const { code } = error as NodeJS.ErrnoException
    if (code !== undefined && /^E[A-Z]+$/.test(code))
      throw new Error(`The backup ${archive} cannot be restored to ${config.dataDir} (${code}).`, {
        cause: error,
      })
    throw error
  }
  await exchange(
    config.dataDir,
    files.filter(({ name }) => manifest.files.some((file) => file.name === name)),
  )
  return manifest
}
