/**
 * Readings as points of InfluxDB, and back. InfluxDB fixes the type of a field for all devices by its first write: a
 * number stands under the field's own name, a string under `<name>|s`, a boolean under `<name>|b`, so that none can clash.
 */
import { Point } from '@influxdata/influxdb-client'
import type { FieldValue, Reading } from './reading.ts'
import type { StoredReading, WriteEntry } from './store.ts'

export const measurement = 'device_telemetry'
/** Milliseconds since the epoch, one in each point: by it points are counted, and put in the order of their arrival. */
export const receivedField = 'received_at'
const metadataPrefix = 'meta_'

export type Kind = 'n' | 's' | 'b'
const kinds: Record<'number' | 'string' | 'boolean', Kind> = { number: 'n', string: 's', boolean: 'b' }
/** Says which kind was written last, for a name that has values of several. */
const lastKindSuffix = '|k'

const keyOf = (name: string, kind: Kind) => (kind === 'n' ? name : `${name}|${kind}`)

/** Every key under which values of a field may stand. */
export const keysOf = (name: string): string[] => [name, `${name}|s`, `${name}|b`, name + lastKindSuffix]

/** The field and the kind of a key; undefined for a key that is none of a field's values. */
export const nameOf = (key: string): { name: string; kind: Kind } | undefined => {
  if (key === receivedField || key.startsWith(metadataPrefix)) return undefined
  const bar = key.indexOf('|')
  if (bar === -1) return { name: key, kind: 'n' }
  const kind = key.slice(bar + 1)
  return kind === 's' || kind === 'b' ? { name: key.slice(0, bar), kind } : undefined
}

/** From the private use area of Unicode: with a digit behind it, it stands for what InfluxDB would lose. */
const mark = '\uE00D'
const lost: Readonly<Record<string, string>> = { 0: '\r', 1: mark, 2: '' }

/**
 * Answers are CSV with CRLF, also for a newline inside a value, and a carriage return inside one is lost; of an empty
 * string that is not the first of a table, Flux's limit() panics.
 */
const encodeText = (text: string) => {
  if (text === '') return `${mark}2`
  return /[\r\uE00D]/.test(text) ? text.replaceAll(mark, `${mark}1`).replaceAll('\r', `${mark}0`) : text
}

/** Line protocol has no empty tag, a control character ends a line there, and a backslash at the end escapes what follows. */
const encodeTag = (text: string) => {
  const encoded = encodeText(text.replace(/\p{Cc}/gu, ' '))
  return encoded.endsWith('\\') ? `${encoded}${mark}2` : encoded
}

/** What was written, of a text that InfluxDB answers. */
export const decodeText = (text: string): string =>
  /[\r\uE00D]/.test(text)
    ? text.replaceAll('\r\n', '\n').replace(/\uE00D([012])/g, (_all, digit: string) => lost[digit] ?? '')
    : text

/**
 * The points of a message, as line protocol.
 * @param isMixed notes the kind of a field and answers whether values of others are known.
 */
export function toLines(
  { deviceId, deviceType, location, receivedAt, readings }: WriteEntry,
  isMixed: (name: string, kind: Kind) => boolean,
): string[] {
  return readings.map(({ time, fields, metadata }) => {
    const point = new Point(measurement)
      .tag('device_id', String(deviceId))
      .tag('device_type', encodeTag(deviceType))
      .intField(receivedField, receivedAt)
      .timestamp(String(time))
    if (location !== null) point.tag('location', encodeTag(location))
    for (const [name, value] of Object.entries(fields)) {
      const kind = kinds[typeof value as keyof typeof kinds]
      const key = keyOf(name, kind)
      if (typeof value === 'number') point.floatField(key, value)
      else if (typeof value === 'boolean') point.booleanField(key, value)
      else point.stringField(key, encodeText(value))
      if (isMixed(name, kind)) point.stringField(name + lastKindSuffix, kind)
    }
    for (const [name, value] of Object.entries(metadata ?? {}))
      point.stringField(metadataPrefix + name, encodeText(value))
    return point.toLineProtocol() ?? ''
  })
}

/** One value of one point. */
export interface Row {
  /** Nanoseconds since the epoch. */
  readonly time: bigint
  readonly key: string
  readonly value: FieldValue
  readonly deviceType: string
  readonly location: string | null
}

type Values = Map<string, FieldValue>

/** The fields of one point: of a name with several kinds the one written last. */
const fieldsOf = (values: Values): Record<string, FieldValue> => {
  const fields: Record<string, FieldValue> = {}
  for (const [key, value] of values) {
    const { name, kind } = nameOf(key) ?? {}
    if (name === undefined) continue
    const last = values.get(name + lastKindSuffix)
    if (last === undefined || last === kind || !values.has(keyOf(name, last as Kind))) fields[name] = value
  }
  return fields
}

const metadataOf = (values: Values): Record<string, string> | undefined => {
  let metadata: Record<string, string> | undefined
  for (const [key, value] of values) {
    if (!key.startsWith(metadataPrefix)) continue
    metadata ??= {}
    metadata[key.slice(metadataPrefix.length)] = String(value)
  }
  return metadata
}

/** Collects rows in any order and makes readings of them. */
export interface Collector {
  add(row: Row): void
  /** The times that have a value of a field, ascending. */
  times(): bigint[]
  /** The times at which points of different series have the same field: their order of arrival has to be known. */
  contested(): bigint[]
  /**
   * The reading of a time. Points of one time are in different series when the device's tags changed in between: the one
   * that arrived last wins, field by field.
   */
  reading(time: bigint): Reading
  /** The same with the tags of the point that arrived last. */
  stored(time: bigint): StoredReading
}

interface PointOfTime {
  readonly deviceType: string
  readonly location: string | null
  readonly values: Values
}

const arrivalOf = ({ values }: PointOfTime) => Number(values.get(receivedField) ?? 0)

export function createCollector(): Collector {
  const points = new Map<bigint, Map<string, PointOfTime>>()
  const times = new Set<bigint>()
  /** Of one time, in the order of their arrival. */
  const arrived = (time: bigint) =>
    [...(points.get(time)?.values() ?? [])].sort((one, other) => arrivalOf(one) - arrivalOf(other))
  const merge = (time: bigint, all: readonly PointOfTime[]): Reading => {
    const fields: Record<string, FieldValue> = {}
    let metadata: Record<string, string> | undefined
    for (const { values } of all) {
      Object.assign(fields, fieldsOf(values))
      const newer = metadataOf(values)
      if (newer) metadata = { ...metadata, ...newer }
    }
    return { time, fields, metadata }
  }
  return {
    add({ time, key, value, deviceType, location }) {
      const bySeries = points.get(time) ?? new Map<string, PointOfTime>()
      points.set(time, bySeries)
      const series = JSON.stringify([deviceType, location])
      const point = bySeries.get(series) ?? { deviceType, location, values: new Map<string, FieldValue>() }
      bySeries.set(series, point)
      point.values.set(key, value)
      if (nameOf(key) !== undefined) times.add(time)
    },
    times: () => [...times].sort((one, other) => (one < other ? -1 : one > other ? 1 : 0)),
    contested: () =>
      [...points].flatMap(([time, bySeries]) => {
        const names = [...bySeries.values()].flatMap(({ values }) => [
          ...new Set([...values.keys()].map((key) => nameOf(key)?.name).filter((name) => name !== undefined)),
        ])
        return new Set(names).size < names.length ? [time] : []
      }),
    reading: (time) => merge(time, arrived(time)),
    stored(time) {
      const all = arrived(time)
      const last = all.at(-1)
      const receivedAt = last === undefined ? 0 : arrivalOf(last)
      return {
        ...merge(time, all),
        deviceType: last?.deviceType ?? '',
        location: last?.location ?? null,
        receivedAt,
      }
    },
  }
}
