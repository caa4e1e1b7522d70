/** The interface of a telemetry store. Every implementation passes the same contract suite. */
import type { AppError } from '../errors.ts'
import type { FieldValue, Reading } from './reading.ts'
import { endOfTime } from './time.ts'
import type { WindowBounds } from './windows.ts'

export const aggregations = ['mean', 'sum', 'count', 'min', 'max', 'first', 'last', 'median'] as const
export type Aggregation = (typeof aggregations)[number]

/** Readings of one device, with the tags as they were when it was accepted. */
export interface WriteEntry {
  readonly deviceId: number
  readonly deviceType: string
  readonly location: string | null
  /** Milliseconds since the epoch. */
  readonly receivedAt: number
  readonly readings: readonly Reading[]
}

/**
 * What became of one entry of a batch: the readings that the store refuses for good (their places in the entry; all others
 * are durable), or why nothing of the entry could be stored.
 */
export type WriteOutcome = { readonly refused: readonly number[] } | { readonly unavailable: AppError }

/** Nanoseconds since the epoch; `from` belongs to the range, `to` does not. */
export interface TimeRange {
  readonly from: bigint
  readonly to: bigint
}

/** The range of all readings: no reading has the last nanosecond that 64 bits can hold. */
export const allTime: TimeRange = { from: 0n, to: endOfTime }

export interface HistoryQuery extends TimeRange {
  readonly deviceId: number
  /** Gives only these fields, and only readings that have one of them; undefined gives all. */
  readonly fields: readonly string[] | undefined
  /** 1–10,000 readings. */
  readonly limit: number
  readonly order: 'asc' | 'desc'
}

export interface AggregateQuery extends TimeRange {
  readonly deviceId: number
  /** A field, or undefined for every one that has a number in the range. */
  readonly field: string | undefined
  /** Booleans count as 0 and 1. Text counts for `count`, `first` and `last`, and is left out of the others. */
  readonly aggregation: Aggregation
  /** Made for this range. */
  readonly bounds: WindowBounds
}

export interface ScanQuery extends TimeRange {
  readonly deviceId: number
  /** 1–10,000 readings. */
  readonly limit: number
}

/** A reading with its tags and its arrival. */
export interface StoredReading extends Reading {
  /** The tags when the reading was accepted; of a reading that was sent again, when it was sent last. */
  readonly deviceType: string
  readonly location: string | null
  /** Milliseconds since the epoch. */
  readonly receivedAt: number
}

/** The newest value of every field, at most 1,000 sorted by name, with the time of the newest of them. */
export interface Latest {
  readonly time: bigint
  readonly fields: Readonly<Record<string, FieldValue>>
}

export interface LatestValuesQuery {
  readonly deviceIds: readonly number[]
  readonly field: string
  /** Only readings before this time count, ns since the epoch. */
  readonly before: bigint
}

/** The newest value of one field, with its time. */
export interface LatestValue {
  readonly time: bigint
  readonly value: FieldValue
}

export interface Aggregate {
  /** Start of the window, also of a first window that began before the range. */
  readonly time: bigint
  /** Sorted by name. */
  readonly values: Readonly<Record<string, FieldValue>>
}

export type FieldType = 'number' | 'text' | 'boolean'

/** The values of one type that a field of a device has. */
export interface FieldSummary {
  readonly name: string
  readonly type: FieldType
  /** Times of the oldest and the newest value of this type, ns since the epoch. */
  readonly first: bigint
  readonly last: bigint
}

/** Most summaries of one device: 1,000 names with three types each. */
export const maxFieldSummaries = 3000

const compareSummaries = (one: FieldSummary, other: FieldSummary): number =>
  one.name < other.name || (one.name === other.name && one.type < other.type) ? -1 : 1

/** How new an answer has to be. */
export interface Freshness {
  /**
   * Leaves out messages of the last second or two that are not in the tables yet. To bring them there for each answer costs writes
   * more, the more messages come.
   */
  readonly mayLag?: boolean | undefined
}

/** The first {@link maxFieldSummaries} by name and type. */
export const firstSummaries = (fields: Iterable<FieldSummary>): FieldSummary[] =>
  [...fields].sort(compareSummaries).slice(0, maxFieldSummaries)

export interface TelemetryStore {
  /** Its kind, as health and status show it. */
  readonly backend: 'embedded' | 'influxdb'
  /**
   * Resolves when every reading is durable (a power cut after it loses none) or its fate is known; one outcome per entry, in
   * order. The same device, time and field again overwrites: the last written wins, also within the batch. Never rejects for
   * a fault of the store.
   */
  write(batch: readonly WriteEntry[]): Promise<readonly WriteOutcome[]>
  /** In the order asked for, empty readings left out; fields and metadata sorted by name, as in every answer. */
  history(query: HistoryQuery): Promise<Reading[]>
  /** Of the readings before a time, ns since the epoch. */
  latest(deviceId: number, before: bigint): Promise<Latest | undefined>
  /** One field of many devices, by their ids; those without a value are left out. */
  latestValues(query: LatestValuesQuery): Promise<Map<number, LatestValue>>
  /**
   * Newest window first, empty ones left out.
   * @throws {AppError} as {@link Aggregator.result}, and UNAVAILABLE.
   */
  aggregate(query: AggregateQuery): Promise<Aggregate[]>
  /**
   * The fields of a device by name and type. Reads all that the device has: no query for every request. InfluxDB also gives a
   * type whose values were all written again with another type.
   */
  fields(deviceId: number): Promise<FieldSummary[]>
  /** Deletes the readings of a range. */
  remove(deviceId: number, range: TimeRange): Promise<void>
  /** The oldest readings of a range, with their tags. */
  scan(query: ScanQuery): Promise<StoredReading[]>
  /** Readings of a device in a range; of all times when no range is given. */
  count(deviceId: number, range?: TimeRange): Promise<number>
  /** Ids of the devices that have telemetry, ascending. */
  devices(): Promise<number[]>
  /** Readings of all devices from this time on, nanoseconds since the epoch. */
  countSince(from: bigint, options?: Freshness): Promise<number>
  /**
   * Readings of all devices by the minute of their arrival, ms since the epoch, from one time of arrival to another. Only of a store
   * that can tell it quickly; of readings that were late when they came, it tells nothing.
   */
  countByMinute?(from: number, until: number): Promise<Map<number, number>>
  /** Resolves when it can take writes and answer. @throws {AppError} UNAVAILABLE */
  check(): Promise<void>
  /** Of a store that reads on threads of its own: resolves when they can start. @throws {AppError} UNAVAILABLE */
  checkQueries?(): Promise<void>
  /** Ends the writes under way, then the connections. */
  close(): Promise<void>
}
