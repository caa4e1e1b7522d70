/** The replay of dead letters: their readings come in once more. */
import { type Accepted, acceptedOf, keysOf, type Sender, toDelivery } from './delivery.ts'
import type { Ledger } from './embedded/ledger.ts'
import type { FieldCatalogue } from './field-catalogue.ts'
import type { Intake } from './intake/intake.ts'
import type { Arrival } from './payload/arrival.ts'
import { parsePayload } from './payload/parse.ts'
import { rejectionError } from './rejections.ts'
import { countWarned } from './warnings.ts'

/** A dead letter for a replay. The device and the arrival come from our record, only the values from the payload. */
export interface Letter extends Omit<Arrival, 'retentionMs' | 'maxClockAheadMs' | 'timezone'> {
  readonly id: number
  readonly body: unknown
  /** The readings of the message to replay; undefined for all. */
  readonly indexes: readonly number[] | undefined
}

export interface ReplayOptions {
  readonly intake: Pick<Intake, 'deliver'>
  readonly ledger: Pick<Ledger, 'count'>
  readonly fields: FieldCatalogue
  /** Age of the oldest readings that are kept, ms; 0 keeps telemetry for ever. */
  readonly retentionMs: number
  /** How far ahead of the server a device's clock is believed, ms. */
  readonly maxClockAheadMs: number
}

export class Replay {
  readonly #options: ReplayOptions

  constructor(options: ReplayOptions) {
    this.#options = options
  }

  /**
   * Takes the readings of a dead letter that are good now. {@link settle} moves the rejected count of the letter; a second
   * replay of the same letter changes nothing.
   * @throws {AppError} VALIDATION_FAILED or TOO_OLD when no reading is good, UNAVAILABLE.
   */
  async run(sender: Sender, { id, body, indexes, ...arrival }: Letter): Promise<Accepted> {
    const { retentionMs, maxClockAheadMs, fields } = this.#options
    const parsed = parsePayload(body, {
      ...arrival,
      timezone: sender.timezone,
      retentionMs,
      maxClockAheadMs,
    })
    const isWanted = ({ index }: { index: number }) => indexes === undefined || indexes.includes(index)
    const wanted = {
      ...parsed,
      readings: parsed.readings.filter(isWanted),
      rejected: parsed.rejected.filter(isWanted),
      warnings: parsed.warnings.filter(isWanted),
    }
    await fields.load(sender.id)
    const { readings, rejected, warnings, batch } = fields.admit(sender.id, wanted, arrival.receivedAt)
    if (readings.length === 0) throw rejectionError(rejected, batch)
    const keys = keysOf(readings, arrival, undefined)
    const taken = readings.map(({ reading }) => reading)
    const delivery = toDelivery(sender, taken, arrival.receivedAt, {
      // A reading with an id of its own is the same one that the device sends again.
      keys: readings.map(({ index }, place) => keys?.[place] ?? `d:${index}:${id}`),
      // When the letter names single readings, its other readings are counted already.
      rejected: indexes === undefined ? rejected.length : 0,
      warned: warnings.length > 0 ? countWarned(readings, warnings) : undefined,
    })
    const outcome = await this.#options.intake.deliver(delivery)
    await fields.flush()
    const hasOwnIds = readings.some(({ messageId }) => messageId !== undefined)
    // Without own ids, only another replay of this letter makes duplicates, so nothing was received again.
    const again = hasOwnIds ? 0 : outcome.duplicates
    if (again > 0)
      await this.#options.ledger.count({ deviceId: sender.id, received: -again, duplicates: -again })
    return acceptedOf(delivery, { rejected, warnings, batch }, outcome)
  }

  /**
   * Takes readings of a replayed letter out of the rejected ones.
   * @param resolved number of readings that the letter no longer counts as rejected.
   */
  async settle(deviceId: number, resolved: number): Promise<void> {
    await this.#options.ledger.count({ deviceId, received: -resolved, rejected: -resolved })
  }
}
