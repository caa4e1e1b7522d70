/** Reads the values of aggregations: as a stream where the device has one series, in pages where points must be merged. */
import { Aggregator, takesText } from '../aggregation.ts'
import type { Aggregate, AggregateQuery, TimeRange } from '../store.ts'
import type { DeviceKeys } from './device-keys.ts'
import {
  isLastKindKey,
  type Kind,
  keyOfKind,
  keysOfField,
  lastKindKey,
  metadataPrefix,
  parseFieldKey,
  receivedAtKey,
} from './field-keys.ts'
import { anyOfKeys, otherKeys } from './key-patterns.ts'
import { ReadingMerger, seriesOf } from './merge.ts'
import { type PointReader, type PointRow, type Points, selectPoints, timeOfRow } from './points.ts'
import { decodeText } from './text.ts'

/** Points of each series in one page of readings that must be merged. */
const pagePoints = 5000

const noMetadata = otherKeys([], [metadataPrefix])
const valueKeys = otherKeys([receivedAtKey], [metadataPrefix])
const valueKeysOfNoText = otherKeys([receivedAtKey], [metadataPrefix], 'no text')

const isNoMetadata = (key: string) => !key.startsWith(metadataPrefix)
const isValueKey = (key: string) => isNoMetadata(key) && key !== receivedAtKey

/**
 * @throws {AppError} as {@link Aggregator.result}, and UNAVAILABLE. InfluxDB's own aggregations are not asked for: its sums depend
 * on the order of the values, its windows end with the range, and its medians take twice the time of the values themselves.
 */
export async function aggregateReadings(
  reader: PointReader,
  deviceKeys: DeviceKeys,
  query: AggregateQuery,
): Promise<Aggregate[]> {
  const { deviceId, field } = query
  const withText = takesText(query.aggregation)
  const keys =
    field === undefined
      ? await deviceKeys.patternFor(
          deviceId,
          query,
          withText ? valueKeys : valueKeysOfNoText,
          (key) => isValueKey(key) && (withText || !isTextKey(key)),
        )
      : anyOfKeys(keysOfField(field).filter((key) => withText || key !== keyOfKind(field, 's')))
  if (keys === undefined) return []
  const streamed = new Aggregator(query)
  const found = await addStreamed(reader, { ...query, keys }, withText, streamed)
  if (found !== 'more') {
    const isText = found === 'nothing' && field !== undefined && !withText
    if (isText && (await hasText(reader, query, field))) streamed.noteText(field)
    return streamed.result()
  }
  const keysToMerge =
    field === undefined
      ? await deviceKeys.patternFor(deviceId, query, noMetadata, isNoMetadata)
      : anyOfKeys([...keysOfField(field), receivedAtKey])
  if (keysToMerge === undefined) return []
  const merged = new Aggregator(query)
  await addMerged(reader, { ...query, keys: keysToMerge }, merged)
  return merged.result()
}

const isTextKey = (key: string) => parseFieldKey(key)?.kind === 's'

/** A range of points, and the pattern of the keys to read. */
interface Asked extends TimeRange {
  readonly deviceId: number
  readonly keys: string
}

/**
 * @param withText whether the keys of texts are asked for.
 * @returns whether there are values, or more than can be streamed: the device has several series, which come one after the other,
 * or a text that was not asked for was written over another value.
 */
async function addStreamed(
  reader: PointReader,
  { deviceId, keys, from, to }: Asked,
  withText: boolean,
  aggregator: Aggregator,
): Promise<'nothing' | 'values' | 'more'> {
  const select = selectPoints({ deviceId, keys, from, to })
  let found: 'nothing' | 'values' | 'more' = 'nothing'
  if (select === undefined) return found
  let series: string | undefined
  await reader.read([select], (points) => {
    const own = seriesOf(points)
    const isStream = (series === undefined || series === own) && (withText || !saysText(points))
    series = own
    found = isStream ? 'values' : 'more'
    if (isStream) addPoints(points, aggregator)
    return isStream && !aggregator.isFull
  })
  return found
}

/** Whether a point says that the value of a field written last is a text. */
const saysText = ({ keys, rows }: Points): boolean => {
  const places = keys.flatMap((key, n) => (isLastKindKey(key) ? [n + 1] : []))
  return places.length > 0 && rows.some((row) => places.some((at) => row[at] === 's'))
}

async function hasText(
  reader: PointReader,
  { deviceId, from, to }: TimeRange & { deviceId: number },
  field: string,
) {
  const select = selectPoints({ deviceId, from, to, keys: anyOfKeys([keyOfKind(field, 's')]), limit: 1 })
  let found = false
  if (select !== undefined)
    await reader.read([select], ({ rows }) => {
      found ||= rows.length > 0
    })
  return found
}

/** The place of a value in a row, and those of the other kinds of values that its field has; 0 for none. */
interface Column {
  readonly name: string
  readonly kind: Kind
  readonly at: number
  readonly places: Readonly<Record<Kind, number>>
  /** Where the row says which kind was written last. */
  readonly lastKind: number
}

const columnsOf = (keys: readonly string[]): Column[] => {
  // The first value of a row is its time.
  const places = new Map(keys.map((key, n) => [key, n + 1]))
  return keys.flatMap((key, n) => {
    const { name, kind } = parseFieldKey(key) ?? {}
    if (name === undefined || kind === undefined) return []
    const placeOf = (one: Kind) => places.get(keyOfKind(name, one)) ?? 0
    const ofKinds = { n: placeOf('n'), s: placeOf('s'), b: placeOf('b') }
    return [{ name, kind, at: n + 1, places: ofKinds, lastKind: places.get(lastKindKey(name)) ?? 0 }]
  })
}

/** Whether a value of another kind was written over this one. */
const isOverwritten = (row: PointRow, { kind, places, lastKind }: Column): boolean => {
  const last = row[lastKind] as Kind | null
  return last !== null && last !== kind && row[places[last]] !== null
}

function addPoints(points: Points, aggregator: Aggregator): void {
  const columns = columnsOf(points.keys)
  for (const row of points.rows) {
    const second = Number(timeOfRow(row) / 1_000_000_000n)
    for (const column of columns) {
      const value = row[column.at]
      if (value === null || value === undefined || typeof value === 'bigint') continue
      if (column.lastKind > 0 && isOverwritten(row, column)) continue
      aggregator.add(second, column.name, typeof value === 'string' ? decodeText(value) : value)
    }
  }
}

/** Reads pages of points of all series and merges them into readings. */
async function addMerged(
  reader: PointReader,
  { deviceId, keys, from, to }: Asked,
  aggregator: Aggregator,
): Promise<void> {
  for (let next = from; next < to && !aggregator.isFull; ) {
    const select = selectPoints({ deviceId, from: next, to, keys, limit: pagePoints })
    if (select === undefined) return
    const page = await readPage(reader, select)
    for (const time of page.merger.times()) {
      if (page.end !== undefined && time > page.end) break
      const second = Number(time / 1_000_000_000n)
      for (const [name, value] of Object.entries(page.merger.reading(time).fields))
        aggregator.add(second, name, value)
    }
    if (page.end === undefined) return
    next = page.end + 1n
  }
}

/** @returns the time up to which the page has everything; undefined when it has all there is. */
async function readPage(
  reader: PointReader,
  select: string,
): Promise<{ merger: ReadingMerger; end: bigint | undefined }> {
  const merger = new ReadingMerger()
  const pointsOfSeries = new Map<string, number>()
  let end: bigint | undefined
  await reader.read([select], (points) => {
    merger.addPoints(points)
    const series = seriesOf(points)
    const count = (pointsOfSeries.get(series) ?? 0) + points.rows.length
    pointsOfSeries.set(series, count)
    const last = points.rows.at(-1)
    if (count < pagePoints || last === undefined) return
    const time = timeOfRow(last)
    if (end === undefined || time < end) end = time
  })
  return { merger, end }
}
