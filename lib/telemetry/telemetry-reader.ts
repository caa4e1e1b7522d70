/** The service that reads telemetry: queries, counts and accounts. It takes no readings, so that a bundle of a query is small. */
import type { Account } from './account.ts'
import type { WindowLength } from './duration.ts'
import type { Ledger } from './embedded/ledger.ts'
import type { Field, FieldCatalogue } from './field-catalogue.ts'
import { type Fill, type FilledAggregate, fillWindows } from './fill.ts'
import { type Page, type PageQuery, readPage } from './pages.ts'
import type { AggregateQuery, Freshness, Latest, LatestValue, TelemetryStore } from './store.ts'
import { windowBounds } from './windows.ts'

export interface TelemetryReaderOptions {
  readonly store: TelemetryStore
  /** Opened only by calls that change or count telemetry. */
  readonly ledger: () => Promise<Ledger>
  /** How far ahead of the server a device's clock is believed, ms: 300,000 unless given. */
  readonly maxClockAheadMs?: number | undefined
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

export class TelemetryReader {
  readonly #options: TelemetryReaderOptions

  constructor(options: TelemetryReaderOptions) {
    this.#options = options
  }

  /** The kind of the store, as health and status show it. */
  get backend(): TelemetryStore['backend'] {
    return this.#options.store.backend
  }

  /** The account of one device, or of all. @throws {AppError} UNAVAILABLE */
  async account(deviceId?: number, freshness?: Freshness): Promise<Account> {
    return (await this.#options.ledger()).account(deviceId, freshness)
  }

  /** The newest arrival of a message, ms since the epoch; 0 for none. @throws {AppError} UNAVAILABLE */
  async lastArrival(): Promise<number> {
    return (await this.#options.ledger()).lastArrival()
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

  /** The newest values of one field that are not in the future, by device. @throws {AppError} UNAVAILABLE */
  latestValues(deviceIds: readonly number[], field: string): Promise<Map<number, LatestValue>> {
    return this.#options.store.latestValues({ deviceIds, field, before: this.openEnd() })
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
  countSince(from: bigint, freshness?: Freshness): Promise<number> {
    return this.#options.store.countSince(from, freshness)
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
