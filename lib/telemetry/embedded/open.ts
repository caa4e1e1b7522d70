/** Opens the embedded database with its store and its ledger. */
import type { BatchWriter } from '../intake/spool-fallback.ts'
import { EmbeddedDatabase } from './database.ts'
import { Deletions } from './deletions.ts'
import { Ledger } from './ledger.ts'
import { Pruning, type PruningOptions } from './pruning.ts'
import { EmbeddedSpool, type EmbeddedSpoolOptions } from './spool.ts'
import { EmbeddedStore } from './store.ts'
import type { DatabaseOptions } from './writer.ts'

export type EmbeddedOptions = DatabaseOptions & PruningOptions

export interface Embedded {
  readonly database: EmbeddedDatabase
  readonly store: EmbeddedStore
  readonly ledger: Ledger
  /** Writes readings, their keys and their account in one transaction. */
  readonly writer: BatchWriter
  spool(options: EmbeddedSpoolOptions): EmbeddedSpool
  readonly deletions: Deletions
  /** Deletes old readings and old keys; nothing does so by itself. */
  readonly pruning: Pruning
  close(): Promise<void>
}

export const batchWriterOf = ({ writer }: EmbeddedDatabase): BatchWriter => ({
  batchesAhead: writer.batchesAhead,
  inAnyOrder: false,
  deliver: (batch) => writer.deliver('readings', batch),
})

/** @throws {StoreFault} when the file cannot be opened. */
export async function openEmbedded(options: EmbeddedOptions): Promise<Embedded> {
  const database = await EmbeddedDatabase.open(options)
  return {
    database,
    store: new EmbeddedStore(database),
    ledger: new Ledger(database, options.now),
    writer: batchWriterOf(database),
    deletions: new Deletions(database, options.now, options.removalSlice),
    pruning: new Pruning(database, options),
    spool: (spoolOptions) => new EmbeddedSpool(database, spoolOptions),
    close: () => database.close(),
  }
}
