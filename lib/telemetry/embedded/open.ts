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
  readonly store: EmbeddedStore
  readonly ledger: Ledger
  /** Writes readings, their keys and their account in one transaction. */
  readonly writer: BatchWriter
  spool(options: EmbeddedSpoolOptions): EmbeddedSpool
  readonly deletions: Deletions
  /** Deletes old readings and old keys; nothing does so by itself. */
  readonly pruning: Pruning
  /** Sets the mark of the file; see `local/database-marks.ts`. @throws {AppError} UNAVAILABLE */
  setMark(mark: number): Promise<void>
  close(): Promise<void>
}

/** @throws {StoreFault} when the file cannot be opened. */
export async function openEmbedded(options: EmbeddedOptions): Promise<Embedded> {
  const database = await EmbeddedDatabase.open(options)
  return {
    store: new EmbeddedStore(database),
    ledger: new Ledger(database, options.now),
    writer: {
      batchesAhead: database.writer.batchesAhead,
      deliver: (batch) => database.writer.deliver('readings', batch),
    },
    deletions: new Deletions(database, options.now, options.removalSlice),
    pruning: new Pruning(database, options),
    spool: (spoolOptions) => new EmbeddedSpool(database, spoolOptions),
    setMark: (mark) => database.writer.change('mark', { mark }),
    close: () => database.close(),
  }
}
