/**
 * Reads all values of a device in a range, slice by slice. SQL hands over the JSON texts and JavaScript parses them: SQLite's
 * own conversion of text to a double is wrong by one unit in the last place for some numbers. One row with all texts of a
 * slice takes half the time of a row for each reading (43,200 readings: 31 and 63 ms).
 */
import { Aggregator, type FieldParts } from '../aggregation.ts'
import type { FieldValue } from '../reading.ts'
import type { AggregateQuery, FieldSummary, FieldType, TimeRange } from '../store.ts'
import type { Query, Row } from './connection.ts'
import { pathOf } from './readings.ts'

/** Readings of one slice: other queries wait for no more than that. */
const sliceReadings = 5000
/** Bytes of JSON of one slice, without its last reading. */
const sliceBytes = 4_000_000

/**
 * Selects the texts of the oldest readings of a range, or the newest. One sum tells whether all fit into a slice, as they nearly
 * always do; only where they do not, a running sum finds how many do: it costs more than all the rest.
 * @param selected of SQL, over `ts` and `fields`.
 */
const sliceSql = (selected: string, order: 'ASC' | 'DESC' = 'ASC') => {
  const source = `FROM readings WHERE device_id = :device AND ts >= :from AND ts < :to ORDER BY ts ${order}`
  const fitting = `
    SELECT count(*) FROM (
      SELECT fields, sum(octet_length(fields)) OVER (ORDER BY ts ${order} ROWS UNBOUNDED PRECEDING) AS bytes
      ${source} LIMIT ${sliceReadings})
    WHERE bytes - octet_length(fields) < ${sliceBytes}`
  return `
    SELECT ${order === 'ASC' ? 'max' : 'min'}(ts), ${selected} FROM (
      SELECT ts, fields ${source} LIMIT (
        SELECT CASE WHEN total(octet_length(fields)) < ${sliceBytes} THEN ${sliceReadings} ELSE (${fitting}) END
        FROM (SELECT fields ${source} LIMIT ${sliceReadings})))`
}

const parseList = <T>(texts: unknown): T[] => JSON.parse(`[${texts}]`) as T[]

/** A slice of a range: what it has, and the time of its last reading in the order of the query. */
export interface Slice<T> {
  readonly last: bigint
  readonly found: T
}

/** The slice of an answer; undefined when the range has no reading. */
export const sliceOf = <T>([row]: readonly Row[]): Slice<T> | undefined =>
  row === undefined ? undefined : { last: row[0] as bigint, found: row[1] as T }

const aggregateSlice = (query: AggregateQuery, [last, seconds, texts]: Row): Row[] => {
  if (last === null) return []
  const aggregator = new Aggregator(query)
  const { field } = query
  const times = parseList<number>(seconds)
  const values = parseList<FieldValue | null | Record<string, FieldValue>>(texts)
  // By index: an iterator of pairs takes a tenth of the time of a whole year.
  for (let at = 0; at < values.length; at += 1) {
    const [second, value] = [times[at] as number, values[at]]
    if (value === null || value === undefined) continue
    if (field !== undefined) aggregator.add(second, field, value as FieldValue)
    else for (const name in value as object) aggregator.add(second, name, (value as never)[name])
    if (aggregator.isFull) break
  }
  return [[last, aggregator.parts() satisfies FieldParts[]]]
}

const typeOf = (value: FieldValue | undefined): FieldType => {
  const type = typeof value
  return type === 'number' || type === 'boolean' ? type : 'text'
}

const fieldsOfSlice = ([last, times, texts]: Row): Row[] => {
  if (last === null) return []
  const found = new Map<string, { name: string; type: FieldType; first: string; last: string }>()
  const writtenTimes = String(times).split(',')
  for (const [at, fields] of parseList<Record<string, FieldValue>>(texts).entries()) {
    const time = writtenTimes[at] as string
    for (const name in fields) {
      const type = typeOf(fields[name])
      const key = `${type} ${name}`
      const before = found.get(key)
      if (before === undefined) found.set(key, { name, type, first: time, last: time })
      else before.last = time
    }
  }
  const summaries = Array.from(
    found.values(),
    (field): FieldSummary => ({
      ...field,
      first: BigInt(field.first),
      last: BigInt(field.last),
    }),
  )
  return [[last, summaries]]
}

/** The newest value of each field of a slice. */
export interface NewestValues {
  /** Of the newest reading, ns since the epoch. */
  readonly time: bigint
  readonly values: ReadonlyMap<string, FieldValue>
}

const newestOfSlice = ([last, time, texts]: Row): Row[] => {
  if (last === null) return []
  const values = new Map<string, FieldValue>()
  for (const fields of parseList<Record<string, FieldValue>>(texts))
    for (const name in fields) if (!values.has(name)) values.set(name, fields[name] as FieldValue)
  return [[last, { time: time as bigint, values } satisfies NewestValues]]
}

export const aggregateQueries = {
  /** The oldest slice of the range: a row with the time of its newest reading, and what its fields have collected. */
  aggregate(query: AggregateQuery): Query {
    const { deviceId, field, from, to } = query
    const seconds = 'group_concat(ts / 1000000000)'
    const args = { device: deviceId, from, to }
    return {
      ...(field === undefined
        ? { sql: sliceSql(`${seconds}, group_concat(fields)`), args }
        : {
            sql: sliceSql(`${seconds}, group_concat(coalesce(fields -> :path, 'null'))`),
            args: { ...args, path: pathOf(field) },
          }),
      convert: ([row = []]) => aggregateSlice(query, row),
    }
  },
  /** The oldest slice of the range: a row with the time of its newest reading, and its fields. */
  fields: ({ deviceId, from, to }: TimeRange & { deviceId: number }): Query => ({
    sql: sliceSql('group_concat(ts), group_concat(fields)'),
    args: { device: deviceId, from, to },
    convert: ([row = []]) => fieldsOfSlice(row),
  }),
  /** The newest slice of the range: a row with the time of its oldest reading, and the newest values. */
  newestValues: ({ deviceId, from, to }: TimeRange & { deviceId: number }): Query => ({
    sql: sliceSql('max(ts), group_concat(fields)', 'DESC'),
    args: { device: deviceId, from, to },
    convert: ([row = []]) => newestOfSlice(row),
  }),
}
