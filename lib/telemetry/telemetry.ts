/** The service of telemetry: from a message to durable readings, and back by query. */
import { AppError, type ErrorDetail } from '../errors.ts'
import { type Arrival, parsePayload } from './payload.ts'
import type { Reading, Rejection } from './reading.ts'
import type { Aggregate, AggregateQuery, HistoryQuery, Latest, TelemetryStore, TimeRange } from './store.ts'

/** Who sent it, with the tags that are stored with each reading. */
export interface Sender {
  readonly id: number
  readonly deviceType: string
  readonly location: string | null
}

export interface Accepted {
  readonly accepted: number
  readonly rejected: readonly Rejection[]
  /** Nanoseconds since the epoch: the newest accepted reading. */
  readonly time: bigint
}

export interface Page {
  readonly readings: readonly Reading[]
  /** Continues behind the last reading; undefined when there are no more. */
  readonly cursor: string | undefined
}

export interface Telemetry {
  /**
   * Takes one message; resolves when its good readings are durable.
   * @throws {AppError} VALIDATION_FAILED or TOO_OLD when none is good, UNAVAILABLE when it could not be stored.
   */
  ingest(sender: Sender, body: unknown, arrival: Omit<Arrival, 'retentionMs'>): Promise<Accepted>
  /**
   * @param cursor of a page before, with the same order.
   * @param maxBytes the page ends before its JSON is longer.
   * @throws {AppError} VALIDATION_FAILED for a cursor that is none of ours.
   */
  history(query: HistoryQuery & { cursor?: string | undefined; maxBytes: number }): Promise<Page>
  latest(deviceId: number): Promise<Latest | undefined>
  /** @throws {AppError} VALIDATION_FAILED for more than 10,000 windows. */
  aggregate(query: AggregateQuery): Promise<Aggregate[]>
  /** Deletes the readings of a range. */
  remove(deviceId: number, range: TimeRange): Promise<void>
  count(deviceId: number): Promise<number>
  countDevices(): Promise<number>
  /** @param from nanoseconds since the epoch. */
  countSince(from: bigint): Promise<number>
  check(): Promise<void>
  readonly backend: TelemetryStore['backend']
}

/** Readings fetched at once: what the event loop has to unpack in one turn. */
const pageSize = 1000
const maxWindows = 10_000n

const invalid = (path: string, message: string) =>
  new AppError('VALIDATION_FAILED', `${path} ${message}.`, { details: [{ path, message }] })

const toDetails = (rejected: readonly Rejection[], batch: boolean): ErrorDetail[] =>
  rejected
    .flatMap(({ index, details, message }) => {
      const inItem = details.length > 0 ? details : [{ path: '', message }]
      return inItem.map((d) => ({
        path: batch ? `[${index}]${d.path && '.'}${d.path}` : d.path,
        message: d.message,
      }))
    })
    .slice(0, 100)

const refusal = (rejected: readonly Rejection[], batch: boolean): AppError => {
  const [first] = rejected
  const code = rejected.every((rejection) => rejection.code === 'TOO_OLD') ? 'TOO_OLD' : 'VALIDATION_FAILED'
  const message = batch
    ? 'No reading of the batch could be accepted.'
    : (first?.message ?? 'The reading is not valid.')
  return new AppError(code, message, { details: toDetails(rejected, batch) })
}

/** The last reading of a page: `t` and its nanoseconds since the epoch. */
export const cursorPattern = /^t(?:[0-9]{1,18}|[1-8][0-9]{18})$/
const encodeCursor = (time: bigint) => `t${time}`
const decodeCursor = (cursor: string): bigint => {
  if (!cursorPattern.test(cursor)) throw invalid('cursor', 'is not one that this query gave')
  return BigInt(cursor.slice(1))
}

const sizeOf = ({ fields, metadata }: Reading) =>
  Buffer.byteLength(JSON.stringify(fields)) +
  (metadata ? Buffer.byteLength(JSON.stringify(metadata)) : 0) +
  64

/** @param retentionMs 0 keeps telemetry for ever. */
export function createTelemetry(options: { store: TelemetryStore; retentionMs: number }): Telemetry {
  const { store, retentionMs } = options
  return {
    backend: store.backend,
    latest: (deviceId) => store.latest(deviceId),
    remove: (deviceId, range) => store.remove(deviceId, range),
    count: (deviceId) => store.count(deviceId),
    countDevices: () => store.countDevices(),
    countSince: (from) => store.countSince(from),
    check: () => store.check(),

    async ingest(sender, body, arrival) {
      const { readings, rejected, batch } = parsePayload(body, { ...arrival, retentionMs })
      const [first] = readings
      if (first === undefined) throw refusal(rejected, batch)
      await store.write({
        deviceId: sender.id,
        deviceType: sender.deviceType,
        location: sender.location,
        receivedAt: arrival.receivedAt,
        readings: readings.map(({ reading }) => reading),
      })
      let { time } = first.reading
      for (const { reading } of readings) if (reading.time > time) time = reading.time
      return { accepted: readings.length, rejected, time }
    },

    async history({ cursor, maxBytes, ...query }) {
      let { from, to } = query
      if (cursor !== undefined) {
        const at = decodeCursor(cursor)
        if (query.order === 'desc' && at < to) to = at
        if (query.order === 'asc' && at >= from) from = at + 1n
      }
      const readings: Reading[] = []
      let bytes = 0
      while (readings.length < query.limit) {
        const limit = Math.min(pageSize, query.limit - readings.length)
        const page = await store.history({ ...query, from, to, limit })
        for (const reading of page) {
          bytes += sizeOf(reading)
          const before = readings.at(-1)
          if (bytes > maxBytes && before) return { readings, cursor: encodeCursor(before.time) }
          readings.push(reading)
        }
        const last = readings.at(-1)
        if (page.length < limit || last === undefined) return { readings, cursor: undefined }
        if (query.order === 'desc') to = last.time
        else from = last.time + 1n
      }
      const last = readings.at(-1)
      const [more] = last === undefined ? [] : await store.history({ ...query, from, to, limit: 1 })
      return { readings, cursor: more && last ? encodeCursor(last.time) : undefined }
    },

    aggregate(query) {
      const { from, to, window } = query
      if (to > from && (to - 1n) / window - from / window + 1n > maxWindows) {
        throw invalid('window', `makes more than ${maxWindows} windows of this range`)
      }
      return store.aggregate(query)
    },
  }
}
