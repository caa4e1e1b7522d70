/** The databases of the settings that are files of this machine. */
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Config, embeddedDatabaseLocation } from '../lib/config.ts'

export interface DatabaseFile {
  readonly name: 'registry' | 'telemetry'
  /** Absolute. */
  readonly path: string
}

/** `file:x.db` is relative to the working directory. */
const pathOf = (url: string): string => {
  const [path = ''] = url.slice('file:'.length).split('?')
  return path.startsWith('//') ? fileURLToPath(`file:${path}`) : resolve(path)
}

/** None where DATABASE_URL names a server: the telemetry is stored there too. */
export function databaseFiles(config: Pick<Config, 'database' | 'dataDir'>): DatabaseFile[] {
  const { url } = config.database
  if (!url.startsWith('file:')) return []
  const telemetry = embeddedDatabaseLocation(config as Config)
  return [
    { name: 'registry', path: pathOf(url) },
    { name: 'telemetry', path: 'file' in telemetry ? telemetry.file : join(config.dataDir, 'telemetry.db') },
  ]
}
