/**
 * Reads the points of one device with InfluxQL: whole points instead of Flux's single values, in a fraction of the time (see
 * `npm run bench:influx-reads`). What it cannot ask, such as for the newest value of each key with its time, {@link FluxReader} does.
 */
import type { InfluxDB } from '@influxdata/influxdb-client'
import type { FieldValue } from '../reading.ts'
import type { TimeRange } from '../store.ts'
import type { InfluxConnection } from './connection.ts'
import { InfluxFault } from './faults.ts'
import { measurement } from './field-keys.ts'
import { clampRange } from './flux.ts'
import { type Packed, unpack } from './msgpack.ts'
import type { QueryGate } from './query-gate.ts'
import { decodeText } from './text.ts'

/** Points of one series, ascending or descending as asked for. An answer has many of them. */
export interface Points {
  /** Place of the select in the query. */
  readonly select: number
  readonly deviceType: string
  readonly location: string | null
  /** Of the values of each row. */
  readonly keys: readonly string[]
  readonly rows: readonly PointRow[]
}

/** The time of a point, ns since the epoch as {@link timeOfRow} reads it, and its values; null for none. */
export type PointRow = readonly (FieldValue | bigint | null)[]

export const timeOfRow = (row: PointRow): bigint => BigInt(row[0] as bigint | number)

/** Calls `each` for every value of a point. Its texts are as the device sent them. */
export function eachValue(
  { keys }: Pick<Points, 'keys'>,
  row: PointRow,
  each: (key: string, value: FieldValue) => void,
): void {
  for (let at = 0; at < keys.length; at += 1) {
    const value = row[at + 1]
    if (value === null || value === undefined) continue
    if (typeof value === 'string') each(keys[at] as string, decodeText(value))
    else each(keys[at] as string, typeof value === 'bigint' ? Number(value) : value)
  }
}

interface Answer {
  readonly results?: readonly {
    readonly statement_id: number
    readonly error?: string
    readonly partial?: boolean
    readonly series?:
      | readonly {
          readonly tags?: Readonly<Record<string, string>>
          readonly columns: readonly string[]
          readonly values?: readonly PointRow[] | null
        }[]
      | null
  }[]
  readonly error?: string
}

/** Points of one message of an answer, which is unpacked in one turn of the event loop and may have long texts. */
const pointsAtOnce = 250

export interface Selection extends TimeRange {
  readonly deviceId: number
  /** A pattern of {@link anyOfKeys} or {@link otherKeys}; all unless given. */
  readonly keys?: string | undefined
  /** The first points of each series in this order. */
  readonly limit?: number | undefined
  readonly order?: 'asc' | 'desc' | undefined
}

/** A select of points; undefined for a range without times. */
export function selectPoints({
  deviceId,
  keys = '*',
  limit,
  order,
  ...range
}: Selection): string | undefined {
  const clamped = clampRange(range)
  if (clamped === undefined) return undefined
  // The cast says that the tag is meant: a device may send a field of the same name.
  const condition = `"device_id"::tag = '${Number(deviceId)}' AND time >= ${clamped.from} AND time < ${clamped.to}`
  const part = `${order === 'desc' ? ' ORDER BY time DESC' : ''}${limit === undefined ? '' : ` LIMIT ${limit}`}`
  return `SELECT ${keys} FROM "${measurement}" WHERE ${condition} GROUP BY *${part}`
}

export class PointReader {
  readonly #client: InfluxDB
  readonly #path: string
  readonly #gate: QueryGate

  constructor(client: InfluxDB, { bucket }: InfluxConnection, gate: QueryGate) {
    this.#client = client
    this.#gate = gate
    // InfluxDB maps each bucket to a database: of the bucket's name, or of its parts.
    const slash = bucket.indexOf('/')
    const database =
      slash === -1 ? { db: bucket } : { db: bucket.slice(0, slash), rp: bucket.slice(slash + 1) }
    const form = { epoch: 'ns', chunked: 'true', chunk_size: String(pointsAtOnce) }
    this.#path = `/query?${new URLSearchParams({ ...database, ...form })}`
  }

  /**
   * Calls `each` for the points of every series, select after select. The rest is not read once it returns false.
   * @throws {AppError} UNAVAILABLE, or what `each` throws as an AppError.
   */
  read(selects: readonly string[], each: (points: Points) => unknown): Promise<void> {
    return this.#gate.run(() => this.#read(selects, each))
  }

  async #read(selects: readonly string[], each: (points: Points) => unknown): Promise<void> {
    const stream = this.#client.transport.iterate(
      this.#path,
      String(new URLSearchParams({ q: selects.join('; ') })),
      {
        method: 'POST',
        headers: { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/x-msgpack' },
      },
    )
    let ended = 0
    for await (const answer of unpack(stream)) {
      const { results, error } = answer as Answer & Packed
      if (results === undefined || error !== undefined) throw new InfluxFault({ code: 'INFLUXQL_ERROR' })
      for (const { statement_id: select, error: failure, partial, series } of results) {
        if (failure !== undefined)
          throw new InfluxFault({
            code: /^database not found/.test(failure) ? 'NO_DATABASE' : 'INFLUXQL_ERROR',
          })
        if (partial !== true) ended += 1
        for (const { tags = {}, columns, values } of series ?? []) {
          const points = {
            select,
            deviceType: decodeText(tags.device_type ?? ''),
            location: tags.location ? decodeText(tags.location) : null,
            keys: columns.slice(1),
            rows: values ?? [],
          }
          if (each(points) === false) return
        }
      }
    }
    if (ended < selects.length) throw new InfluxFault({ code: 'INCOMPLETE' })
  }
}
