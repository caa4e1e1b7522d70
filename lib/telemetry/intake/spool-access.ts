/** The way to readings that wait in a spool, for those that take none. */
import type { Spool, SpoolState } from '../spool.ts'
import type { TimeRange } from '../store.ts'

export interface SpoolAccess {
  /** Whether readings are accepted while the store is unavailable. */
  acceptsDuringOutage(): Promise<boolean>
  /** Undefined where there is no spool. @throws {AppError} UNAVAILABLE */
  spoolState(): Promise<SpoolState | undefined>
  /**
   * Drops the waiting readings of a range; they count as stored. Afterwards no write of such readings is under way any more, so
   * that a deletion in the store finds all of them.
   * @throws {AppError} UNAVAILABLE
   */
  dropSpooled(deviceId: number, range: TimeRange): Promise<void>
}

/** @param writesEnded resolves when no write that began before is under way, where this process empties the spool. */
export const accessTo = (spool: Spool | undefined, writesEnded?: () => Promise<void>): SpoolAccess => ({
  acceptsDuringOutage: async () => (await spool?.accepts()) ?? false,
  spoolState: async () => spool?.state(),
  async dropSpooled(deviceId, range) {
    // A batch of new readings that is under way goes into the spool when its write fails.
    await writesEnded?.()
    await spool?.dropRange(deviceId, range)
    // What was read out of the spool before may be on its way to the store.
    await writesEnded?.()
  },
})
