/** The service of telemetry: queries, deletions, accounts, and the replay of dead letters. */
import type { Account } from './account.ts'
import type { Deletion } from './deletion.ts'
import { type Accepted, acceptedOf, keysOf, type Sender, toDelivery } from './delivery.ts'
import type { WindowLength } from './duration.ts'
import type { Deletions } from './embedded/deletions.ts'
import type { Ledger } from './embedded/ledger.ts'
import type { Field, FieldCatalogue } from './field-catalogue.ts'
import { type Fill, type FilledAggregate, fillWindows } from './fill.ts'
import type { Intake } from './intake/intake.ts'
import { type Page, type PageQuery, readPage } from './pages.ts'
import type { Arrival } from './payload/arrival.ts'
import { parsePayload } from './payload/parse.ts'
import { rejectionError } from './rejections.ts'
import type { SpoolState } from './spool.ts'
import { type AggregateQuery, allTime, type Latest, type TelemetryStore, type TimeRange } from './store.ts'
import { countWarned } from './warnings.ts'
import { windowBounds } from './windows.ts'

/** A dead letter for a replay. The device and the arrival come from our record, only the values from the payload. */
export interface Letter extends Omit<Arrival, 'retentionMs' | 'maxClockAheadMs' | 'timezone'> {
  readonly id: number
  readonly body: unknown
  /** The readings of the message to replay; undefined for all. */
  readonly indexes: readonly number[] | undefined
}

/** Time in which a large deletion may end before its request is answered, ms: half of what a function has. */
const removeMs = 5000

export interface TelemetryOptions {
  readonly store: TelemetryStore
  /** Opened only by calls that change telemetry. */
  readonly intake: () => Promise<Intake>
  /** Opened only by calls that change or count telemetry. */
  readonly ledger: () => Promise<Ledger>
  /** Age of the oldest readings that are kept, ms; 0 keeps telemetry for ever. */
  readonly retentionMs: number
  /** How far ahead of the server a device's clock is believed, ms: 300,000 unless given. */
  readonly maxClockAheadMs?: number | undefined
  /** Of a store whose large deletions go on in slices. */
  readonly deletions?: (() => Promise<Deletions>) | undefined
  /** Opened only by calls that store readings or ask for names. */
  readonly fields?: (() => Promise<FieldCatalogue>) | undefined
}

/** An aggregation as a client asks for it. */
export interface WindowQuery extends Omit<AggregateQuery, 'bounds'> {
  readonly window: WindowLength
  /** IANA name, of windows with a unit of the calendar. */
  readonly timezone: string
  /** Undefined leaves windows without a value out. */
  readonly fill: Fill | undefined
  /** Windows that begin at this time or later are not filled, ns since the epoch. */
  readonly fillUntil: bigint
}

export class Telemetry {
  readonly #options: TelemetryOptions

  constructor(options: TelemetryOptions) {
    this.#options = options
  }

  /** The kind of the store, as health and status show it. */
  get backend(): TelemetryStore['backend'] {
    return this.#options.store.backend
  }

  /**
   * Takes the readings of a dead letter that are good now. {@link settleReplay} moves the rejected count of the letter; a second
   * replay of the same letter changes nothing.
   * @throws {AppError} VALIDATION_FAILED or TOO_OLD when no reading is good, UNAVAILABLE.
   */
  async replay(sender: Sender, { id, body, indexes, ...arrival }: Letter): Promise<Accepted> {
    const { retentionMs, maxClockAheadMs, fields } = this.#options
    const parsed = parsePayload(body, {
      ...arrival,
      timezone: sender.timezone,
      retentionMs,
      ...(maxClockAheadMs !== undefined && { maxClockAheadMs }),
    })
    const isWanted = ({ index }: { index: number }) => indexes === undefined || indexes.includes(index)
    const wanted = {
      ...parsed,
      readings: parsed.readings.filter(isWanted),
      rejected: parsed.rejected.filter(isWanted),
      warnings: parsed.warnings.filter(isWanted),
    }
    const catalogue = await fields?.()
    await catalogue?.load(sender.id)
    const { readings, rejected, warnings, batch } =
      catalogue?.admit(sender.id, wanted, arrival.receivedAt) ?? wanted
    if (readings.length === 0) throw rejectionError(rejected, batch)
    const keys = keysOf(readings, arrival, undefined)
    const delivery = toDelivery(sender, readings, arrival.receivedAt, {
      // A reading with an id of its own is the same one that the device sends again.
      keys: readings.map(({ index }, place) => keys?.[place] ?? `d:${index}:${id}`),
      // When the letter names single readings, its other readings are counted already.
      rejected: indexes === undefined ? rejected.length : 0,
      ...(warnings.length > 0 && { warned: countWarned(readings, warnings) }),
    })
    const outcome = await (await this.#options.intake()).deliver(delivery)
    await catalogue?.flush()
    const hasOwnIds = readings.some(({ messageId }) => messageId !== undefined)
    // Without own ids, only another replay of this letter makes duplicates, so nothing was received again.
    const again = hasOwnIds ? 0 : outcome.duplicates
    if (again > 0) {
      const ledger = await this.#options.ledger()
      await ledger.count({ deviceId: sender.id, received: -again, duplicates: -again })
    }
    return acceptedOf(delivery, { rejected, warnings, batch }, outcome)
  }

  /**
   * Takes readings of a replayed letter out of the rejected ones.
   * @param resolved number of readings that the letter no longer counts as rejected.
   */
  async settleReplay(deviceId: number, resolved: number): Promise<void> {
    await (await this.#options.ledger()).count({ deviceId, received: -resolved, rejected: -resolved })
  }

  /** Drops the readings of a device that wait in the spool; they count as stored. @throws {AppError} UNAVAILABLE */
  async dropSpooled(deviceId: number): Promise<void> {
    await (await this.#options.intake()).dropSpooled(deviceId, allTime)
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
    await (await this.#options.intake()).dropSpooled(deviceId, range)
    const deletions = await this.#options.deletions?.()
    const id = (await deletions?.isLarge(deviceId, range))
      ? await deletions?.create(deviceId, range)
      : undefined
    if (id === undefined) await this.#options.store.remove(deviceId, range)
    if (range === allTime) await (await this.#options.fields?.())?.clear(deviceId)
    return id === undefined ? undefined : deletions?.advance(id, until)
  }

  /** The account of one device, or of all. @throws {AppError} UNAVAILABLE */
  async account(deviceId?: number): Promise<Account> {
    return (await this.#options.ledger()).account(deviceId)
  }

  /** The newest arrival of a message, ms since the epoch; 0 for none. @throws {AppError} UNAVAILABLE */
  async lastArrival(): Promise<number> {
    return (await this.#options.ledger()).lastArrival()
  }

  /** Undefined where there is no spool. @throws {AppError} UNAVAILABLE */
  async spool(): Promise<SpoolState | undefined> {
    return (await this.#options.intake()).spoolState()
  }

  /** Whether readings are accepted while the store is unavailable. */
  async acceptsDuringOutage(): Promise<boolean> {
    return (await this.#options.intake()).acceptsDuringOutage()
  }

  /** @throws {AppError} VALIDATION_FAILED for a cursor that no query gave; UNAVAILABLE. */
  history(query: PageQuery): Promise<Page> {
    return readPage(this.#options.store, query)
  }

  /** The end of a range where none is asked for, ns since the epoch: readings of clocks that are ahead belong to it. */
  openEnd(): bigint {
    const { maxClockAheadMs = 300_000 } = this.#options
    // One millisecond more, because a range ends before its end.
    return BigInt(Date.now() + maxClockAheadMs + 1) * 1_000_000n
  }

  /** Every field of a device with each of its types, sorted by name. @throws {AppError} UNAVAILABLE */
  async fields(deviceId: number): Promise<Field[]> {
    const catalogue = await this.#options.fields?.()
    return (await catalogue?.list(deviceId, () => this.#options.store.fields(deviceId))) ?? []
  }

  /** The newest values that are not in the future. @throws {AppError} UNAVAILABLE */
  latest(deviceId: number): Promise<Latest | undefined> {
    return this.#options.store.latest(deviceId, this.openEnd())
  }

  /**
   * Newest window first.
   * @throws {AppError} VALIDATION_FAILED for more than 10,000 windows; what {@link TelemetryStore.aggregate} and
   * {@link fillWindows} throw.
   */
  async aggregate({
    window,
    timezone,
    fill,
    fillUntil,
    ...query
  }: WindowQuery): Promise<readonly FilledAggregate[]> {
    const asked = { ...query, bounds: windowBounds(window, timezone, query) }
    const found = await this.#options.store.aggregate(asked)
    return fill === undefined ? found : fillWindows(found, asked, fill, fillUntil)
  }

  count(deviceId: number): Promise<number> {
    return this.#options.store.count(deviceId)
  }

  async countDevices(): Promise<number> {
    return (await this.#options.store.devices()).length
  }

  /** Readings of all devices from this time on, ns since the epoch. */
  countSince(from: bigint): Promise<number> {
    return this.#options.store.countSince(from)
  }

  /** See {@link TelemetryStore.countByMinute}; empty where the store cannot tell. @throws {AppError} UNAVAILABLE */
  async countByMinute(from: number, until: number): Promise<ReadonlyMap<number, number>> {
    return (await this.#options.store.countByMinute?.(from, until)) ?? new Map()
  }

  /** @throws {AppError} UNAVAILABLE when the store cannot be used. */
  check(): Promise<void> {
    return this.#options.store.check()
  }

  /** @throws {AppError} UNAVAILABLE when the store takes readings, but cannot start to read them. */
  async checkQueries(): Promise<void> {
    await this.#options.store.checkQueries?.()
  }
}
