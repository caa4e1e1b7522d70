/**
 * Reads all values of a device in a range, slice by slice. SQL hands over the JSON texts and JavaScript reads them: SQLite's
 * own conversion of text to a double is wrong by one unit in the last place for some numbers. A slice has a few parts, each of
 * them one row with all its texts: a row for each reading takes longer, and so does a text that is too large for the
 * processor's cache.
 */
import { Aggregator, type FieldParts } from '../aggregation.ts'
import type { FieldValue } from '../reading.ts'
import type { AggregateQuery, FieldSummary, FieldType, TimeRange } from '../store.ts'
import type { Query, Row } from './connection.ts'
import {
  eachParsedValue,
  eachValue,
  eachValueOf,
  lineBreak,
  otherForm,
  type TakeValue,
} from './stored-text.ts'

/** Other queries wait for no more than one slice. */
const sliceParts = 5
/** Readings of one part. */
const partReadings = 1000
/** Bytes of JSON of one part, without its last reading. */
const partBytes = 800_000

const ofDevice = 'FROM readings WHERE device_id = :device'

/** How the oldest readings of a range are taken, part by part, and how the newest. Each part begins where the last one ended. */
const orders = {
  oldest: {
    direction: 'ASC',
    begin: ':from',
    end: ':to',
    left: 'ts >= part.edge AND ts < :to',
    /** The end of a part is the time of the first reading that is not in it. */
    offset: partReadings,
    edgeOf: 'max(ts) + 1',
    between: (begin: string, end: string) => `ts >= ${begin} AND ts < ${end}`,
  },
  newest: {
    direction: 'DESC',
    begin: ':to',
    end: ':from',
    left: 'ts >= :from AND ts < part.edge',
    /** The end of a part is the time of its last reading. */
    offset: partReadings - 1,
    edgeOf: 'min(ts)',
    between: (begin: string, end: string) => `ts >= ${end} AND ts < ${begin}`,
  },
}

/**
 * Selects the parts of a slice: where each ends, and its texts, a line for each reading, in the order of the times, which is that
 * of the primary key; null for no reading. One sum tells whether so many readings have few enough bytes, as they nearly always
 * do; only where they do not, a running sum finds how many have.
 * @param time of SQL, over `ts`.
 */
const sliceSql = (
  time: string,
  { direction, begin, end, left, offset, edgeOf, between }: typeof orders.oldest,
) => `
  WITH RECURSIVE part(place, begin, edge) AS (
    SELECT 0, NULL, ${begin}
    UNION ALL
    SELECT place + 1, edge, (
      SELECT CASE WHEN (SELECT total(octet_length(fields)) ${ofDevice} AND ${between('part.edge', 'full.edge')}) < ${partBytes}
        THEN full.edge
        ELSE (
          SELECT ${edgeOf} FROM (
            SELECT ts, fields, sum(octet_length(fields)) OVER (ORDER BY ts ${direction} ROWS UNBOUNDED PRECEDING) AS bytes
            ${ofDevice} AND ${left} ORDER BY ts ${direction} LIMIT ${partReadings})
          WHERE bytes - octet_length(fields) < ${partBytes}) END
      FROM (SELECT coalesce(
        (SELECT ts ${ofDevice} AND ${left} ORDER BY ts ${direction} LIMIT 1 OFFSET ${offset}), ${end}) AS edge) AS full)
    FROM part WHERE place < ${sliceParts} AND edge <> ${end})
  SELECT edge, (SELECT group_concat((${time}) || fields, ${lineBreak}) ${ofDevice} AND ${between('begin', 'edge')})
  FROM part WHERE place > 0`

/** A slice of a range: what it has, and where the next slice begins, or ends. */
export interface Slice<T> {
  readonly edge: bigint
  readonly found: T
}

/** The slice of an answer. */
export const sliceOf = <T>([row = []]: readonly Row[]): Slice<T> => ({
  edge: row[0] as bigint,
  found: row[1] as T,
})

/** The answer of a slice. @param parts rows of {@link sliceSql}, at least one. */
const answerOf = <T>(parts: readonly Row[], found: T): Row[] => [[parts.at(-1)?.[0], found]]

const textsOf = (parts: readonly Row[]): string[] =>
  parts.flatMap(([, texts]) => (texts === null ? [] : [texts as string]))

/** @param isParsed see {@link eachParsedValue}. */
const collect = (query: AggregateQuery, parts: readonly Row[], isParsed: boolean): FieldParts[] => {
  const aggregator = new Aggregator(query)
  const { field } = query
  const take: TakeValue = (second, name, value) => {
    aggregator.add(second, name, value)
    return aggregator.isFull
  }
  for (const texts of textsOf(parts)) {
    if (isParsed) eachParsedValue(texts, field, take)
    else if (field === undefined) eachValue(texts, take)
    else eachValueOf(texts, field, take)
    if (aggregator.isFull) break
  }
  return aggregator.parts()
}

const aggregateSlice = (query: AggregateQuery, parts: readonly Row[]): Row[] => {
  try {
    return answerOf(parts, collect(query, parts, false))
  } catch (error) {
    if (error !== otherForm) throw error
    return answerOf(parts, collect(query, parts, true))
  }
}

/** The readings of a slice, in the order of their times inside each part: the time as it is written, and the fields. */
const readingsOf = (parts: readonly Row[]): [time: string, fields: Record<string, FieldValue>][][] =>
  textsOf(parts).map((texts) =>
    texts.split('\n').map((line) => {
      const brace = line.indexOf('{')
      return [line.slice(0, brace), JSON.parse(line.slice(brace)) as Record<string, FieldValue>]
    }),
  )

const typeOf = (value: FieldValue | undefined): FieldType => {
  const type = typeof value
  return type === 'number' || type === 'boolean' ? type : 'text'
}

const fieldsOfSlice = (parts: readonly Row[]): Row[] => {
  const found = new Map<string, { name: string; type: FieldType; first: string; last: string }>()
  for (const [time, fields] of readingsOf(parts).flat())
    for (const name in fields) {
      const type = typeOf(fields[name])
      const key = `${type} ${name}`
      const before = found.get(key)
      if (before === undefined) found.set(key, { name, type, first: time, last: time })
      else before.last = time
    }

  const summaries = Array.from(
    found.values(),
    (field): FieldSummary => ({
      ...field,
      first: BigInt(field.first),
      last: BigInt(field.last),
    }),
  )
  return answerOf(parts, summaries)
}

/** The newest value of each field of a slice. */
export interface NewestValues {
  /** Of the newest reading, ns since the epoch; undefined where there is none. */
  readonly time: bigint | undefined
  readonly values: ReadonlyMap<string, FieldValue>
}

const newestOfSlice = (parts: readonly Row[]): Row[] => {
  const values = new Map<string, FieldValue>()
  let newest: string | undefined
  for (const readings of readingsOf(parts))
    for (const [time, fields] of readings.reverse()) {
      newest ??= time
      for (const name in fields) if (!values.has(name)) values.set(name, fields[name] as FieldValue)
    }
  const time = newest === undefined ? undefined : BigInt(newest)
  return answerOf(parts, { time, values } satisfies NewestValues)
}

const argsOf = ({ deviceId, from, to }: TimeRange & { deviceId: number }) => ({ device: deviceId, from, to })

/** Each answers with one row; see {@link sliceOf}. The range is not empty. */
export const aggregateQueries = {
  /** What the fields of the oldest slice have collected. */
  aggregate: (query: AggregateQuery): Query => ({
    sql: sliceSql('ts / 1000000000', orders.oldest),
    args: argsOf(query),
    convert: (parts) => aggregateSlice(query, parts),
  }),
  /** The fields of the oldest slice. */
  fields: (range: TimeRange & { deviceId: number }): Query => ({
    sql: sliceSql('ts', orders.oldest),
    args: argsOf(range),
    convert: fieldsOfSlice,
  }),
  /** The newest values of the newest slice. */
  newestValues: (range: TimeRange & { deviceId: number }): Query => ({
    sql: sliceSql('ts', orders.newest),
    args: argsOf(range),
    convert: newestOfSlice,
  }),
}
