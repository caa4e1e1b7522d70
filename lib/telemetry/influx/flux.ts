/**
 * Queries in Flux. The client library's template writes every value into a script as a literal, so that no name of a field
 * can become code.
 */
import {
  type FluxTableMetaData,
  flux,
  fluxExpression,
  fluxInteger,
  type InfluxDB,
  type ParameterizedQuery,
  type QueryApi,
} from '@influxdata/influxdb-client'
import type { FieldValue } from '../reading.ts'
import type { TimeRange } from '../store.ts'
import { parseTime } from '../time.ts'
import type { InfluxConnection } from './connection.ts'
import { InfluxFault } from './faults.ts'
import { measurement } from './field-keys.ts'
import type { ReadingMerger, Row } from './merge.ts'
import type { QueryGate } from './query-gate.ts'
import { decodeText } from './text.ts'

/** Reads a column of the current row. */
export type Column = (name: string) => unknown

/** The last nanosecond that InfluxDB can store. */
export const lastInfluxTime = 2n ** 63n - 2n
export const allInfluxTimes: TimeRange = { from: 0n, to: lastInfluxTime }

/** The part of a range that InfluxDB can store; undefined when that is empty. */
export const clampRange = ({ from, to }: TimeRange): TimeRange | undefined => {
  const clamped = { from: from < 0n ? 0n : from, to: to > lastInfluxTime ? lastInfluxTime : to }
  return clamped.from < clamped.to ? clamped : undefined
}

/** An instant in a script. @param time nanoseconds since the epoch. */
export const instant = (time: bigint) => fluxExpression(`time(v: ${fluxInteger(String(time))})`)

/** Balances long alternatives: Flux parses `a or b or c …` as nested expressions and limits their depth. */
const anyOf = (terms: readonly string[]): string => {
  if (terms.length <= 50) return terms.join(' or ')
  const half = terms.length >> 1
  return `(${anyOf(terms.slice(0, half))}) or (${anyOf(terms.slice(half))})`
}

/** A filter for rows of any of these field keys. */
export const withKeys = (keys: readonly string[]) =>
  fluxExpression(`filter(fn: (r) => ${anyOf(keys.map((key) => flux`r._field == ${key}`.toString()))})`)

/**
 * A filter for rows of any of these devices. InfluxDB looks up a pattern in its index: 1,000 devices take 0.1 s, while 200
 * alternatives with `or` take many seconds, since each is compared with each series.
 * @param ids as the tag has them: digits.
 */
export const withDevices = (ids: readonly string[]) =>
  fluxExpression(`filter(fn: (r) => r.device_id =~ /^(${ids.map((id) => Number(id)).join('|')})$/)`)

const rowColumns = fluxExpression('columns: ["_time", "_field", "_value", "device_type", "location"]')

const rowColumnsOfDevices = fluxExpression(
  'columns: ["device_id", "_time", "_field", "_value", "device_type", "location"]',
)

const toRow = (column: Column): Row => {
  const value = column('_value') as FieldValue
  const location = column('location')
  return {
    time: parseTime(column('_time')) ?? 0n,
    key: String(column('_field')),
    value: typeof value === 'string' ? decodeText(value) : value,
    deviceType: decodeText(String(column('device_type') ?? '')),
    location: location ? decodeText(String(location)) : null,
  }
}

/** Points that one query asks for at most, each with a script of its own. */
const pointsPerQuery = 50

export class FluxReader {
  readonly bucket: string
  readonly #queries: QueryApi
  readonly #gate: QueryGate

  constructor(client: InfluxDB, { org, bucket }: InfluxConnection, gate: QueryGate) {
    this.bucket = bucket
    this.#queries = client.getQueryApi(org)
    this.#gate = gate
  }

  /** Calls `each` for every row of the answer. @throws {AppError} UNAVAILABLE, or what `each` throws as an AppError. */
  query(script: ParameterizedQuery, each: (column: Column) => void): Promise<void> {
    return this.#gate.run(() => this.#run(script, each))
  }

  /** A script that reads the points of one device, or of all; undefined for a range without times. */
  points(range: TimeRange, deviceId?: number): ParameterizedQuery | undefined {
    const clamped = clampRange(range)
    if (clamped === undefined) return undefined
    const { from, to } = clamped
    const ofDevice = deviceId === undefined ? flux`` : flux` and r.device_id == ${String(deviceId)}`
    return flux`from(bucket: ${this.bucket}) |> range(start: ${instant(from)}, stop: ${instant(to)})
      |> filter(fn: (r) => r._measurement == ${measurement}${ofDevice})`
  }

  /** Calls `each` for every value that a script of {@link points} gives. */
  async rows(script: ParameterizedQuery, each: (row: Row) => void): Promise<void> {
    await this.query(flux`${script} |> keep(${rowColumns})`, (column) => each(toRow(column)))
  }

  /** As {@link FluxReader.rows}, with the device of each value. */
  async rowsOfDevices(script: ParameterizedQuery, each: (deviceId: number, row: Row) => void): Promise<void> {
    await this.query(flux`${script} |> keep(${rowColumnsOfDevices})`, (column) =>
      each(Number(column('device_id')), toRow(column)),
    )
  }

  /** Adds all values of the device's points at these times. */
  async completePoints(deviceId: number, times: readonly bigint[], merger: ReadingMerger): Promise<void> {
    for (let at = 0; at < times.length; at += pointsPerQuery) {
      const scripts = times.slice(at, at + pointsPerQuery).flatMap((time, n) => {
        const point = this.points({ from: time, to: time + 1n }, deviceId)
        return point ? [flux`${point} |> keep(${rowColumns}) |> yield(name: ${String(n)})`.toString()] : []
      })
      if (scripts.length > 0)
        await this.query(fluxExpression(scripts.join('\n')), (column) => merger.add(toRow(column)))
    }
  }

  #run(script: ParameterizedQuery, each: (column: Column) => void): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      this.#queries.queryRows(script, {
        next: (values: string[], meta: FluxTableMetaData) => {
          // InfluxDB reports a failure after its 200 as a table with an error column.
          if (meta.columns[0]?.label === 'error') throw new InfluxFault({ code: 'FLUX_ERROR' })
          each((name) => meta.get(values, name) as unknown)
        },
        error: reject,
        complete: resolve,
      })
    })
  }
}
