/** Readings of one device: history, newest values of one field, and the pages of an export. */
import { flux, fluxExpression } from '@influxdata/influxdb-client'
import type { Reading } from '../reading.ts'
import {
  type FieldSummary,
  type FieldType,
  firstSummaries,
  type HistoryQuery,
  type LatestValue,
  type LatestValuesQuery,
  type ScanQuery,
  type StoredReading,
} from '../store.ts'
import type { DeviceKeys } from './device-keys.ts'
import { type Kind, keysOfField, parseFieldKey } from './field-keys.ts'
import { allInfluxTimes, type FluxReader, withDevices, withKeys } from './flux.ts'
import { anyOfKeys } from './key-patterns.ts'
import { ReadingMerger } from './merge.ts'
import { type PointReader, selectPoints } from './points.ts'

const noMetadata = fluxExpression('filter(fn: (r) => r._field !~ /^(meta_.*|received_at)$/)')
const onlyMetadata = '/(?s)^(?:meta_.*|received_at)$/'

export async function readHistory(
  reader: PointReader,
  deviceKeys: DeviceKeys,
  query: HistoryQuery,
): Promise<Reading[]> {
  const { deviceId, fields, limit, order } = query
  const keys =
    fields === undefined
      ? await deviceKeys.patternFor(deviceId, query, '*')
      : anyOfKeys(fields.flatMap(keysOfField))
  const select = keys === undefined ? undefined : selectPoints({ ...query, keys })
  if (select === undefined) return []
  // InfluxDB limits each series for itself, so that the first readings are among these points, or the last ones.
  const merger = new ReadingMerger()
  await reader.read([select], (points) => merger.addPoints(points))
  const ascending = merger.times()
  const times = (order === 'asc' ? ascending : ascending.reverse()).slice(0, limit)
  if (fields !== undefined) await addMetadata(reader, deviceId, times, merger)
  return times.map((time) => merger.reading(time))
}

/** A query for some fields leaves out metadata and times of arrival: this adds them to the readings found. */
async function addMetadata(
  reader: PointReader,
  deviceId: number,
  times: readonly bigint[],
  merger: ReadingMerger,
): Promise<void> {
  const [first, last] = [times[0], times.at(-1)]
  if (first === undefined || last === undefined) return
  const [from, to] = first < last ? [first, last] : [last, first]
  const select = selectPoints({ deviceId, from, to: to + 1n, keys: onlyMetadata })
  if (select === undefined) return
  const found = new Set(times)
  await reader.read([select], (points) => merger.addPoints(points, (time) => found.has(time)))
}

/** Devices that one query for their newest values names. */
const devicesPerQuery = 1000

export async function readLatestValues(
  reader: FluxReader,
  { deviceIds, field, before }: LatestValuesQuery,
): Promise<Map<number, LatestValue>> {
  const found = new Map<number, LatestValue>()
  const points = reader.points({ from: 0n, to: before })
  if (points === undefined) return found
  const ofField = withKeys(keysOfField(field))
  for (let at = 0; at < deviceIds.length; at += devicesPerQuery) {
    const mergers = new Map<number, ReadingMerger>()
    const ofThese = withDevices(deviceIds.slice(at, at + devicesPerQuery).map(String))
    await reader.rowsOfDevices(flux`${points} |> ${ofThese} |> ${ofField} |> last()`, (deviceId, row) => {
      const merger = mergers.get(deviceId) ?? new ReadingMerger()
      mergers.set(deviceId, merger)
      merger.add(row)
    })
    for (const [deviceId, merger] of mergers) {
      await reader.completePoints(deviceId, merger.timesWithConflicts(), merger)
      const time = merger.times().findLast((one) => Object.hasOwn(merger.reading(one).fields, field))
      const value = time === undefined ? undefined : merger.reading(time).fields[field]
      if (time !== undefined && value !== undefined) found.set(deviceId, { time, value })
    }
  }
  return found
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

export async function scanReadings(
  reader: PointReader,
  deviceKeys: DeviceKeys,
  query: ScanQuery,
): Promise<StoredReading[]> {
  const keys = await deviceKeys.patternFor(query.deviceId, query, '*')
  const select = keys === undefined ? undefined : selectPoints({ ...query, keys })
  if (select === undefined) return []
  const merger = new ReadingMerger()
  await reader.read([select], (points) => merger.addPoints(points))
  return merger
    .times()
    .slice(0, query.limit)
    .map((time) => merger.storedReading(time))
}
