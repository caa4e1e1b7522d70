/** Pages of a device's history: each ends where its answer would become too long, and the next one continues after it. */
import { AppError } from '../errors.ts'
import type { Reading } from './reading.ts'
import type { HistoryQuery, TelemetryStore } from './store.ts'

export interface PageQuery extends HistoryQuery {
  /** The cursor of the page before, of a query with the same order. */
  readonly cursor?: string | undefined
  /** The page ends before its answer is longer, bytes. */
  readonly maxBytes: number
  /** Bytes that a reading adds to the answer; called once for each reading, in order. As JSON unless given. */
  readonly bytesOf?: ((reading: Reading) => number) | undefined
}

export interface Page {
  readonly readings: readonly Reading[]
  /** Continues behind the last reading; undefined when there are no more. */
  readonly cursor: string | undefined
}

/** Readings of one query to the store: the event loop unpacks them in one turn. */
const readingsAtOnce = 1000

/** A cursor is the time of the last reading of a page: `t` and nanoseconds since the epoch. */
export const cursorPattern = /^t(?:[0-9]{1,18}|[1-8][0-9]{18})$/

const encodeCursor = (time: bigint) => `t${time}`

const decodeCursor = (cursor: string): bigint => {
  const message = 'is not one that this query gave'
  if (!cursorPattern.test(cursor))
    throw new AppError('VALIDATION_FAILED', `cursor ${message}.`, { details: [{ path: 'cursor', message }] })
  return BigInt(cursor.slice(1))
}

const jsonBytes = ({ fields, metadata }: Reading) =>
  Buffer.byteLength(JSON.stringify(fields)) +
  (metadata ? Buffer.byteLength(JSON.stringify(metadata)) : 0) +
  64

/** @throws {AppError} VALIDATION_FAILED for a cursor that no query gave; UNAVAILABLE. */
export async function readPage(
  store: Pick<TelemetryStore, 'history'>,
  { cursor, maxBytes, bytesOf = jsonBytes, ...query }: PageQuery,
): Promise<Page> {
  let { from, to } = query
  if (cursor !== undefined) {
    const at = decodeCursor(cursor)
    if (query.order === 'desc' && at < to) to = at
    if (query.order === 'asc' && at >= from) from = at + 1n
  }
  const readings: Reading[] = []
  let bytes = 0
  while (readings.length < query.limit) {
    const limit = Math.min(readingsAtOnce, query.limit - readings.length)
    const found = await store.history({ ...query, from, to, limit })
    for (const reading of found) {
      bytes += bytesOf(reading)
      const before = readings.at(-1)
      if (bytes > maxBytes && before) return { readings, cursor: encodeCursor(before.time) }
      readings.push(reading)
    }
    const last = readings.at(-1)
    if (found.length < limit || last === undefined) return { readings, cursor: undefined }
    if (query.order === 'desc') to = last.time
    else from = last.time + 1n
  }
  const last = readings.at(-1)
  const [more] = last === undefined ? [] : await store.history({ ...query, from, to, limit: 1 })
  return { readings, cursor: more && last ? encodeCursor(last.time) : undefined }
}
