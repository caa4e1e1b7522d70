/** Builds readings from the points and the values of query answers. */
import { type FieldValue, type Reading, sortedByName } from '../reading.ts'
import type { StoredReading } from '../store.ts'
import {
  type Kind,
  keyOfKind,
  lastKindKey,
  metadataPrefix,
  parseFieldKey,
  receivedAtKey,
} from './field-keys.ts'
import { eachValue, type PointRow, type Points, timeOfRow } from './points.ts'

/** One row of a query answer: one value of one point. */
export interface Row {
  /** Nanoseconds since the epoch. */
  readonly time: bigint
  readonly key: string
  readonly value: FieldValue
  readonly deviceType: string
  readonly location: string | null
}

/** What tells the series of one device apart. */
export const seriesOf = ({ deviceType, location }: Pick<Row, 'deviceType' | 'location'>): string =>
  JSON.stringify([deviceType, location])

/** A time in one series. */
interface Point {
  readonly deviceType: string
  readonly location: string | null
  /** By key. */
  readonly values: Map<string, FieldValue>
}

const receivedAtOf = ({ values }: Point): number => Number(values.get(receivedAtKey) ?? 0)

/** The fields of one point. Of a field with values of several kinds only the kind written last counts. */
const fieldsOf = ({ values }: Point): Record<string, FieldValue> => {
  const fields: Record<string, FieldValue> = {}
  for (const [key, value] of values) {
    const { name, kind } = parseFieldKey(key) ?? {}
    if (name === undefined) continue
    const last = values.get(lastKindKey(name))
    const isCurrent = last === undefined || last === kind || !values.has(keyOfKind(name, last as Kind))
    if (isCurrent) fields[name] = value
  }
  return fields
}

const fieldNamesOf = ({ values }: Point): Set<string> => {
  const names = new Set<string>()
  for (const key of values.keys()) {
    const found = parseFieldKey(key)
    if (found) names.add(found.name)
  }
  return names
}

const metadataOf = ({ values }: Point): Record<string, string> | undefined => {
  let metadata: Record<string, string> | undefined
  for (const [key, value] of values) {
    if (!key.startsWith(metadataPrefix)) continue
    metadata ??= {}
    metadata[key.slice(metadataPrefix.length)] = String(value)
  }
  return metadata
}

const mergePoints = (time: bigint, points: readonly Point[]): Reading => {
  const fields: Record<string, FieldValue> = {}
  let metadata: Record<string, string> | undefined
  for (const point of points) {
    Object.assign(fields, fieldsOf(point))
    const newer = metadataOf(point)
    if (newer) metadata = { ...metadata, ...newer }
  }
  return { time, fields: sortedByName(fields), metadata: metadata && sortedByName(metadata) }
}

/**
 * Collects the rows of one device in any order and merges them into readings. A time has points in several series when
 * the device's type or location changed between two writes of it; the point that arrived last wins, field by field.
 */
export class ReadingMerger {
  readonly #points = new Map<bigint, Map<string, Point>>()
  /** Times that have a value of a field, not only metadata. */
  readonly #times = new Set<bigint>()

  add(row: Row): void {
    this.#point(row.time, row).values.set(row.key, row.value)
    if (parseFieldKey(row.key) !== undefined) this.#times.add(row.time)
  }

  /** Adds points of one series. @param isWanted only these of them. */
  addPoints(points: Points, isWanted: (time: bigint) => boolean = () => true): void {
    for (const row of points.rows) {
      const time = timeOfRow(row)
      if (isWanted(time)) this.addPoint(points, row, time)
    }
  }

  /** Adds one point of a series. */
  addPoint(points: Points, row: PointRow, time: bigint): void {
    const { values } = this.#point(time, points)
    eachValue(points, row, (key, value) => {
      values.set(key, value)
      if (parseFieldKey(key) !== undefined) this.#times.add(time)
    })
  }

  /** Times with a value of a field, ascending. */
  times(): bigint[] {
    return [...this.#times].sort((one, other) => (one < other ? -1 : one > other ? 1 : 0))
  }

  /** Times at which two series have the same field, so that their times of arrival must be known. */
  timesWithConflicts(): bigint[] {
    return [...this.#points].flatMap(([time, bySeries]) => {
      const names = [...bySeries.values()].flatMap((point) => [...fieldNamesOf(point)])
      return new Set(names).size < names.length ? [time] : []
    })
  }

  reading(time: bigint): Reading {
    return mergePoints(time, this.#byArrival(time))
  }

  /** The reading with the tags of the point that arrived last. */
  storedReading(time: bigint): StoredReading {
    const points = this.#byArrival(time)
    const last = points.at(-1)
    return {
      ...mergePoints(time, points),
      deviceType: last?.deviceType ?? '',
      location: last?.location ?? null,
      receivedAt: last === undefined ? 0 : receivedAtOf(last),
    }
  }

  #point(time: bigint, { deviceType, location }: Pick<Point, 'deviceType' | 'location'>): Point {
    const bySeries = this.#points.get(time) ?? new Map<string, Point>()
    this.#points.set(time, bySeries)
    const series = seriesOf({ deviceType, location })
    const point = bySeries.get(series) ?? { deviceType, location, values: new Map<string, FieldValue>() }
    bySeries.set(series, point)
    return point
  }

  #byArrival(time: bigint): Point[] {
    const points = [...(this.#points.get(time)?.values() ?? [])]
    return points.sort((one, other) => receivedAtOf(one) - receivedAtOf(other))
  }
}
