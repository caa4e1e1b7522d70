/** Writes one entry into a store, and throws where the outcome is a failure. */
import { AppError } from '../../lib/errors.ts'
import type { TelemetryStore, WriteEntry } from '../../lib/telemetry/store.ts'

/** @throws {AppError} UNAVAILABLE, or VALIDATION_FAILED when the store refuses a reading for good. */
export async function writeEntry(store: Pick<TelemetryStore, 'write'>, entry: WriteEntry): Promise<void> {
  const [outcome] = await store.write([entry])
  if (outcome === undefined) throw new Error('the store gave no outcome')
  if ('unavailable' in outcome) throw outcome.unavailable
  if (outcome.refused.length > 0)
    throw new AppError('VALIDATION_FAILED', `The store refused ${outcome.refused.join(', ')}.`)
}
