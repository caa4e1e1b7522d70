/** The service of telemetry: what {@link TelemetryReader} does, and deletions. */
import type { Deletion } from './deletion.ts'
import type { Deletions } from './embedded/deletions.ts'
import type { SpoolAccess } from './intake/spool-access.ts'
import type { SpoolState } from './spool.ts'
import { allTime, type TimeRange } from './store.ts'
import { TelemetryReader, type TelemetryReaderOptions } from './telemetry-reader.ts'

/** Time in which a large deletion may end before its request is answered, ms: half of what a function has. */
const removeMs = 5000

export interface TelemetryOptions extends TelemetryReaderOptions {
  /** Opened only by calls that delete telemetry, or ask for the spool. */
  readonly spooled: () => Promise<SpoolAccess>
  /** Of a store whose large deletions go on in slices. */
  readonly deletions?: (() => Promise<Deletions>) | undefined
}

export class Telemetry extends TelemetryReader {
  readonly #options: TelemetryOptions

  constructor(options: TelemetryOptions) {
    super(options)
    this.#options = options
  }

  /** Drops the readings of a device that wait in the spool; they count as stored. @throws {AppError} UNAVAILABLE */
  async dropSpooled(deviceId: number): Promise<void> {
    await (await this.#options.spooled()).dropSpooled(deviceId, allTime)
  }

  /**
   * Deletes the readings of a range, those in the spool too. What does not fit into one transaction is noted as a deletion, which
   * {@link Deletions.run} goes on with.
   * @param waitMs time for such a deletion before this resolves, ms.
   * @returns the deletion, finished or not; undefined when everything was deleted at once.
   * @throws {AppError} UNAVAILABLE
   */
  async remove(deviceId: number, range: TimeRange, waitMs = removeMs): Promise<Deletion | undefined> {
    const until = performance.now() + waitMs
    await (await this.#options.spooled()).dropSpooled(deviceId, range)
    const deletions = await this.#options.deletions?.()
    const id = (await deletions?.isLarge(deviceId, range))
      ? await deletions?.create(deviceId, range)
      : undefined
    if (id === undefined) await this.#options.store.remove(deviceId, range)
    if (range === allTime) await (await this.#options.fields?.())?.clear(deviceId)
    return id === undefined ? undefined : deletions?.advance(id, until)
  }

  /** Undefined where there is no spool. @throws {AppError} UNAVAILABLE */
  async spool(): Promise<SpoolState | undefined> {
    return (await this.#options.spooled()).spoolState()
  }

  /** Whether readings are accepted while the store is unavailable. */
  async acceptsDuringOutage(): Promise<boolean> {
    return (await this.#options.spooled()).acceptsDuringOutage()
  }
}
