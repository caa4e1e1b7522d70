/** Readings of one device: history, newest values, and the pages of an export. */
import { flux, fluxExpression } from '@influxdata/influxdb-client'
import { type FieldValue, type Reading, sortedByName } from '../reading.ts'
import {
  type FieldSummary,
  type FieldType,
  firstSummaries,
  type HistoryQuery,
  type Latest,
  type ScanQuery,
  type StoredReading,
} from '../store.ts'
import { type Kind, keysOfField, parseFieldKey } from './field-keys.ts'
import { allInfluxTimes, type FluxReader, withKeys } from './flux.ts'
import { ReadingMerger } from './merge.ts'

/** Fields that the newest values contain at most. */
const maxLatestFields = 1000

const noMetadata = fluxExpression('filter(fn: (r) => r._field !~ /^(meta_.*|received_at)$/)')
const onlyMetadata = fluxExpression('filter(fn: (r) => r._field =~ /^(meta_.*|received_at)$/)')

export async function readHistory(reader: FluxReader, query: HistoryQuery): Promise<Reading[]> {
  const { deviceId, fields, limit, order, ...range } = query
  const points = reader.points(range, deviceId)
  if (points === undefined) return []
  const wanted = fields === undefined ? points : flux`${points} |> ${withKeys(fields.flatMap(keysOfField))}`
  // Flux limits each series and field for itself, so that the first readings are among these rows, or the last ones.
  const part = fluxExpression(order === 'asc' ? 'limit' : 'tail')
  const merger = new ReadingMerger()
  await reader.rows(flux`${wanted} |> ${part}(n: ${limit})`, (row) => merger.add(row))
  const ascending = merger.times()
  const times = (order === 'asc' ? ascending : ascending.reverse()).slice(0, limit)
  if (fields !== undefined) await addMetadata(reader, deviceId, times, merger)
  return times.map((time) => merger.reading(time))
}

/** A query for some fields leaves out metadata and times of arrival: this adds them to the readings found. */
async function addMetadata(
  reader: FluxReader,
  deviceId: number,
  times: readonly bigint[],
  merger: ReadingMerger,
): Promise<void> {
  const [first, last] = [times[0], times.at(-1)]
  if (first === undefined || last === undefined) return
  const [from, to] = first < last ? [first, last] : [last, first]
  const points = reader.points({ from, to: to + 1n }, deviceId)
  if (points === undefined) return
  const found = new Set(times)
  await reader.rows(flux`${points} |> ${onlyMetadata}`, (row) => {
    if (found.has(row.time)) merger.add(row)
  })
}

export async function readLatest(
  reader: FluxReader,
  deviceId: number,
  before: bigint,
): Promise<Latest | undefined> {
  const points = reader.points({ from: 0n, to: before }, deviceId)
  if (points === undefined) return undefined
  const merger = new ReadingMerger()
  await reader.rows(flux`${points} |> last()`, (row) => merger.add(row))
  // The last time of arrival of a series may belong to a later point than the last value of a field.
  await reader.completePoints(deviceId, merger.timesWithConflicts(), merger)
  const times = merger.times().reverse()
  const newest = times[0]
  if (newest === undefined) return undefined
  const fields: Record<string, FieldValue> = {}
  let count = 0
  for (const time of times) {
    const names = Object.entries(merger.reading(time).fields).sort(([one], [other]) => (one < other ? -1 : 1))
    for (const [name, value] of names) {
      if (Object.hasOwn(fields, name) || count === maxLatestFields) continue
      fields[name] = value
      count += 1
    }
  }
  return { time: newest, fields: sortedByName(fields) }
}

const types: Readonly<Record<Kind, FieldType>> = { n: 'number', s: 'text', b: 'boolean' }

export async function readFields(reader: FluxReader, deviceId: number): Promise<FieldSummary[]> {
  const points = reader.points(allInfluxTimes, deviceId)
  if (points === undefined) return []
  const fields = new Map<string, FieldSummary>()
  for (const end of ['first', 'last'])
    await reader.rows(flux`${points} |> ${noMetadata} |> ${fluxExpression(end)}()`, ({ key, time }) => {
      const { name, kind } = parseFieldKey(key) ?? {}
      if (name === undefined || kind === undefined) return
      const { first, last } = fields.get(key) ?? { first: time, last: time }
      fields.set(key, {
        name,
        type: types[kind],
        first: time < first ? time : first,
        last: time > last ? time : last,
      })
    })
  return firstSummaries(fields.values())
}

export async function scanReadings(reader: FluxReader, query: ScanQuery): Promise<StoredReading[]> {
  const { deviceId, limit, ...range } = query
  const points = reader.points(range, deviceId)
  if (points === undefined) return []
  const merger = new ReadingMerger()
  await reader.rows(flux`${points} |> limit(n: ${limit})`, (row) => merger.add(row))
  return merger
    .times()
    .slice(0, limit)
    .map((time) => merger.storedReading(time))
}
