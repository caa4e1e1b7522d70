/** The registry: drizzle on libSQL, by file or by URL. */
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { type Client, createClient } from '@libsql/client'
import { drizzle, type LibSQLDatabase } from 'drizzle-orm/libsql'
import { migrate } from 'drizzle-orm/libsql/migrator'
import { AppError } from '../errors.ts'
import * as schema from './schema.ts'
import { openServer } from './server.ts'

export type RegistryDb = LibSQLDatabase<typeof schema> & { $client: Client }

export interface Registry {
  readonly db: RegistryDb
  /** Brings the schema up to date, also when several processes begin at once. A step of start and deploy, not of a cold start. */
  migrate(): Promise<void>
  close(): void
}

const migrationsFolder = fileURLToPath(new URL('./migrations', import.meta.url))

/** A migration is one transaction: of several at once one is carried out, and the others find it done on their next try. */
async function bringUpToDate(db: RegistryDb): Promise<void> {
  for (let tries = 5; ; tries -= 1) {
    try {
      return await migrate(db, { migrationsFolder })
    } catch (error) {
      // A server that is away has been waited for already.
      if (tries === 1 || isUnavailable(error)) throw error
      await sleep(100 + 200 * Math.random())
    }
  }
}

const isUnavailable = (error: unknown): boolean =>
  error instanceof AppError || (error instanceof Error && isUnavailable(error.cause))

/**
 * One connection on a file: libSQL runs it on the calling thread, and settings such as `synchronous` hold for the
 * connection that made them.
 */
export async function openRegistry(at: { url: string; authToken?: string | undefined }): Promise<Registry> {
  const isFile = at.url.startsWith('file:')
  const client = isFile
    ? createClient({ url: at.url, concurrency: 1, timeout: 5000 })
    : openServer({ url: at.url, ...(at.authToken === undefined ? {} : { authToken: at.authToken }) })
  if (isFile) {
    await client.execute('PRAGMA journal_mode = WAL')
    await client.execute('PRAGMA synchronous = FULL')
    await client.execute('PRAGMA foreign_keys = ON')
  }
  const db = drizzle(client, { schema })
  return {
    db,
    migrate: () => bringUpToDate(db),
    close: () => client.close(),
  }
}

/** True for a write that the database refused because the value must be unique. */
export function isUniqueViolation(error: unknown): boolean {
  for (let e = error; e instanceof Error; e = e.cause) {
    const { code, extendedCode } = e as { code?: string; extendedCode?: string }
    if (extendedCode === 'SQLITE_CONSTRAINT_UNIQUE' || code === 'SQLITE_CONSTRAINT_UNIQUE') return true
    // Remote databases answer with the base code and the words of SQLite.
    if (code?.startsWith('SQLITE_CONSTRAINT') && e.message.includes('UNIQUE constraint failed')) return true
  }
  return false
}
