/** The registry: drizzle on libSQL, by file or by URL. */
import { fileURLToPath } from 'node:url'
import type { Client } from '@libsql/client'
import { sql } from 'drizzle-orm'
import { drizzle, type LibSQLDatabase } from 'drizzle-orm/libsql'
import { migrate } from 'drizzle-orm/libsql/migrator'
import pRetry from 'p-retry'
import { knownError } from '../errors.ts'
import { openDatabase } from '../libsql/client.ts'
import { isBusy } from '../libsql/errors.ts'
import { root } from '../root.ts'
import { foldExistingTexts, indexExistingTexts } from './folded-texts.ts'

export type RegistryDb = LibSQLDatabase & { $client: Client }

export interface Registry {
  readonly db: RegistryDb
  /** Brings the schema up to date; several processes may do so at once. A step of start and deploy, not of a cold start. */
  migrate(): Promise<void>
  close(): void
}

const migrationsFolder = fileURLToPath(new URL('lib/registry/migrations', root))

/** Devices that earlier versions wrote get the presence that their newest event tells: else the next one would come twice. */
const fillPresence = (db: RegistryDb) =>
  db.run(sql`update devices set presence = coalesce((select kind from events
      where device_id = devices.id and kind in ('online', 'offline') order by id desc limit 1), 'offline')
    where presence is null`)

/**
 * Retries, because a migration is one transaction: of several processes one carries it out, and the others find it done on
 * their next attempt. A server that does not answer is not retried: each request has waited for it already.
 */
const migrateWithRetries = (db: RegistryDb): Promise<void> =>
  pRetry(
    async () => {
      await migrate(db, { migrationsFolder })
      await foldExistingTexts(db)
      await indexExistingTexts(db)
      await fillPresence(db)
    },
    {
      retries: 4,
      minTimeout: 150,
      factor: 1,
      randomize: true,
      shouldRetry: ({ error }) => isBusy(error) || knownError(error) === undefined,
    },
  )

/** Opens the registry and leaves its schema as it is. */
export async function openRegistry(at: { url: string; authToken?: string | undefined }): Promise<Registry> {
  const client = await openDatabase(at)
  const db = drizzle(client)
  return {
    db,
    migrate: () => migrateWithRetries(db),
    close: () => client.close(),
  }
}
