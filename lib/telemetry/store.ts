/** What a time-series database must do for us. Every implementation passes one contract suite. */
import { AppError } from '../errors.ts'
import type { FieldValue, Reading } from './reading.ts'

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

/** Nanoseconds since the epoch; `from` belongs to the range, `to` does not. */
export interface TimeRange {
  readonly from: bigint
  readonly to: bigint
}

export interface HistoryQuery extends TimeRange {
  readonly deviceId: number
  /** Only these fields, and only readings that have one of them; undefined takes all. */
  readonly fields: readonly string[] | undefined
  /** 1–10,000 readings. */
  readonly limit: number
  readonly order: 'asc' | 'desc'
}

export interface AggregateQuery extends TimeRange {
  readonly deviceId: number
  /** A field, or undefined for every numeric one. Only numbers are aggregated. */
  readonly field: string | undefined
  readonly aggregation: Aggregation
  /** Nanoseconds; windows begin at whole multiples of it since the epoch. */
  readonly window: bigint
}

export interface ScanQuery extends TimeRange {
  readonly deviceId: number
  /** 1–10,000 readings. */
  readonly limit: number
}

/** A reading with what is kept beside its values. */
export interface StoredReading extends Reading {
  /** As they were when it was accepted; of a reading that was sent again, when it was sent last. */
  readonly deviceType: string
  readonly location: string | null
  /** Milliseconds since the epoch. */
  readonly receivedAt: number
}

/** The newest value of every field, with the time of the newest of them. */
export interface Latest {
  readonly time: bigint
  readonly fields: Readonly<Record<string, FieldValue>>
}

export interface Aggregate {
  /** Start of the window, also of a first window that began before the range. */
  readonly time: bigint
  readonly values: Readonly<Record<string, number>>
}

/** Values that one aggregation may answer. */
export const maxAggregates = 200_000

export const tooManyValues = () =>
  new AppError('VALIDATION_FAILED', 'That is too many values for one answer: ask for less.', {
    details: [{ path: 'window', message: 'is too small for all fields of this range' }],
  })

export interface TelemetryStore {
  /** What it is, as health and status show it. */
  readonly backend: 'embedded' | 'influxdb'
  /**
   * Resolves when every reading is durable: a power cut after it loses none. The same device, time and field again
   * overwrites: last written wins.
   * @throws {AppError} UNAVAILABLE when it could not be stored, or more waits than the store holds.
   */
  write(entry: WriteEntry): Promise<void>
  /** In the order asked for, empty readings left out. */
  history(query: HistoryQuery): Promise<Reading[]>
  latest(deviceId: number): Promise<Latest | undefined>
  /** Newest window first, empty ones left out. */
  aggregate(query: AggregateQuery): Promise<Aggregate[]>
  /** Deletes the readings of a range. */
  remove(deviceId: number, range: TimeRange): Promise<void>
  /** The oldest readings of a range, with their tags. */
  scan(query: ScanQuery): Promise<StoredReading[]>
  /** Readings of a device that are kept now; undefined takes all times. */
  count(deviceId: number, range?: TimeRange): Promise<number>
  /** Ids of the devices that have telemetry, ascending. */
  devices(): Promise<number[]>
  /** Readings of all devices from this time on, nanoseconds since the epoch. */
  countSince(from: bigint): Promise<number>
  /** Resolves when it can take writes and answer. @throws {AppError} UNAVAILABLE */
  check(): Promise<void>
  /** Writes what waits, then ends. */
  close(): Promise<void>
}
