/** Makes a backup of the database files: one file, complete or not there, while the server runs. */
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import Database from 'libsql'
import type { Config } from '../../lib/config.ts'
import { version } from '../../lib/version.ts'
import { databaseFiles } from '../database-files.ts'
import { type Manifest, writeArchive } from './archive.ts'
import { copyDatabases, verifyDatabase } from './snapshot.ts'

export interface BackupOptions {
  /** Replaces a file of this name. */
  readonly replace: boolean
  readonly onBytes?: (bytes: number) => void
}

/** When the newest migration of a registry was made, ms since the epoch; 0 for one without migrations. */
export function schemaOf(registry: string): number {
  const db = new Database(registry)
  try {
    const [newest] = db
      .prepare('SELECT max(created_at) FROM __drizzle_migrations')
      .raw(true)
      .get() as unknown as [number | null]
    return Number(newest ?? 0)
  } catch {
    return 0
  } finally {
    db.close()
  }
}

/** Removes what a backup of this name that was killed has left. */
const removeLeftovers = async (folder: string, prefix: string) => {
  for (const name of await readdir(folder))
    if (name.startsWith(prefix)) await rm(join(folder, name), { recursive: true, force: true })
}

/**
 * @param target the file of the backup.
 * @throws {Error} one sentence when there is nothing to back up here, or the file cannot be written.
 */
export async function makeBackup(
  config: Config,
  target: string,
  { replace, onBytes }: BackupOptions,
): Promise<Manifest> {
  const path = resolve(target)
  const files = databaseFiles(config)
  if (files.length === 0)
    throw new Error('The databases are on the libSQL server of DATABASE_URL: back them up there.')
  const missing = files.find((file) => !existsSync(file.path))
  if (missing !== undefined) throw new Error(`There is nothing to back up: ${missing.path} does not exist.`)
  if (!replace && existsSync(path))
    throw new Error(`${path} exists already: choose another name, or --force.`)
  const [folder, prefix] = [dirname(path), `.${basename(path)}.copies-`]
  try {
    await removeLeftovers(folder, prefix)
    const copies = await mkdtemp(join(folder, prefix))
    try {
      const copyOf = (name: string) => join(copies, `${name}.db`)
      // Telemetry is written most.
      const busiestFirst = [...files].reverse()
      await copyDatabases(
        busiestFirst.map((file) => ({ from: file.path, to: copyOf(file.name) })),
        onBytes,
      )
      for (const { name } of files) verifyDatabase(name, copyOf(name))
      return await writeArchive(
        path,
        files.map(({ name }) => ({ name, path: copyOf(name) })),
        {
          version,
          created_at: new Date().toISOString(),
          schema: schemaOf(copyOf('registry')),
          influxdb: config.influx !== undefined,
        },
      )
    } finally {
      await rm(copies, { recursive: true, force: true })
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === undefined || !/^E[A-Z]+$/.test(code)) throw error
    throw new Error(`The backup ${path} cannot be written (${code}).`, { cause: error })
  }
}
