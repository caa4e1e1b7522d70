/** What a store refuses for good is one reading, and not the message around it. */
import { AppError } from '../errors.ts'
import type { Reading } from './reading.ts'
import type { TelemetryStore, WriteEntry } from './store.ts'

/** Keeps a reading that the store refuses for good; with a key once for each key, however many try. */
export type Bury = (entry: WriteEntry, reason: string, key?: string) => Promise<void>

export const isRefusal = (error: unknown) => error instanceof AppError && error.code === 'VALIDATION_FAILED'

/**
 * Writes the readings that the store takes, and buries those that it refuses, each for itself.
 * @returns the buried ones.
 * @throws {AppError} UNAVAILABLE: all of it is to be tried again, and nothing was buried before the rest was stored.
 */
export async function writeOrBury(
  store: Pick<TelemetryStore, 'write'>,
  bury: Bury,
  entry: WriteEntry,
): Promise<ReadonlySet<Reading>> {
  const refused = new Set<Reading>()
  /** Halves what is refused: a few bad ones in a long message must not make a request of each reading. */
  const write = async (readings: readonly Reading[]): Promise<void> => {
    try {
      await store.write({ ...entry, readings })
    } catch (error) {
      if (!isRefusal(error)) throw error
      const [first] = readings
      const half = readings.length >> 1
      if (half === 0) {
        if (first !== undefined) refused.add(first)
        return
      }
      await write(readings.slice(0, half))
      await write(readings.slice(half))
    }
  }
  await write(entry.readings)
  for (const reading of refused)
    await bury({ ...entry, readings: [reading] }, 'The telemetry store refused the reading.')
  return refused
}
