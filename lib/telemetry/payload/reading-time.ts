/** The last stage of a reading: when it was taken, by the device's clock where that can be right, else by ours. */

import { epochOfLocal, isTimeZone } from '../../time-zone.ts'
import { parseTime } from '../time.ts'
import { type Arrival, arrivalTime } from './arrival.ts'
import { timeNames } from './names.ts'
import type { ReadingBuilder, TimeCandidate } from './values.ts'

const nsPerMs = 1_000_000n
const earliest = BigInt(Date.UTC(2000, 0, 1)) * nsPerMs
const defaultClockAheadMs = 300_000

/** Where a reading stands in its message. */
export interface Place {
  readonly index: number
  /** Whether other readings came with it: then one that is too old is refused. */
  readonly inBatch: boolean
}

const ageOf = (value: unknown): number | undefined => {
  const age = typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : value
  return typeof age === 'number' && age >= 0 && Number.isFinite(age) ? Math.round(age) : undefined
}

/** The time that a value names, ns since the epoch; undefined when it names none. */
const timeOf = ({ kind, value }: TimeCandidate, arrival: Arrival, index: number): bigint | undefined => {
  const { receivedAt, messageId, timezone } = arrival
  if (kind === 'age_ms') {
    const age = ageOf(value)
    return age === undefined ? undefined : arrivalTime(receivedAt - age, messageId, index)
  }
  if (!timezone) return parseTime(value)
  return parseTime(value, (wallClockMs) =>
    isTimeZone(timezone) ? epochOfLocal(timezone, wallClockMs, receivedAt) : wallClockMs,
  )
}

const order: readonly TimeCandidate['kind'][] = [...timeNames, 'age_ms']

/** Sorts times by their name; those of the envelope stand before the others. */
const inOrder = (times: readonly TimeCandidate[]): readonly TimeCandidate[] => {
  const [first] = times
  if (first === undefined || times.length === 1) return times
  const rank = ({ kind, source }: TimeCandidate) =>
    order.indexOf(kind) + (source === first.source ? 0 : order.length)
  return [...times].sort((one, other) => rank(one) - rank(other))
}

/** Why a clock cannot be right; undefined when it can. `too old` is said only of times that a right clock can show. */
const faultOf = (time: bigint, { receivedAt, retentionMs, maxClockAheadMs }: Arrival) => {
  const aheadMs = maxClockAheadMs ?? defaultClockAheadMs
  if (time > BigInt(receivedAt + aheadMs) * nsPerMs) return 'ahead'
  if (time < earliest) return 'early'
  return retentionMs > 0 && time < BigInt(receivedAt - retentionMs) * nsPerMs ? 'too old' : undefined
}

/** Why a reading is refused whose time is older than telemetry is kept. */
export interface TooOld {
  /** The value that names the time. */
  readonly path: string
  readonly message: string
}

/** A time that a device named, with the value as it was sent. */
export interface NamedTime {
  /** Nanoseconds since the epoch. */
  readonly time: bigint
  readonly path: string
  readonly value: number | string | boolean
}

/** The time that is stored for one that a device named: the arrival when the device's clock cannot be right. */
export function believe(
  builder: ReadingBuilder,
  { time, path, value }: NamedTime,
  arrival: Arrival,
  { index, inBatch }: Place,
): bigint | TooOld {
  const fault = faultOf(time, arrival)
  if (fault === undefined) return time
  const days = Math.round(arrival.retentionMs / 86_400_000)
  const tooOld = `is older than the ${days} days that telemetry is kept`
  if (fault === 'too old' && inBatch) return { path, message: tooOld }
  const reasons = { ahead: 'is ahead of our clock', early: 'is before the year 2000', 'too old': tooOld }
  builder.setOwnMetadata('device_time', String(value))
  builder.warn('CLOCK_WRONG', path, `${reasons[fault]}: the time of arrival is stored`)
  return arrivalTime(arrival.receivedAt, arrival.messageId, index)
}

const timeRule = {
  age_ms: 'must be milliseconds, 0 or more',
  clock: 'must be a time in ISO 8601, or an epoch in s, ms or µs, as a string in ns too',
}

/**
 * The time of a reading, ns since the epoch, or why it is refused. Of several times the first one that can be read counts;
 * the others become metadata.
 */
export function resolveTime(builder: ReadingBuilder, arrival: Arrival, place: Place): bigint | TooOld {
  let named: NamedTime | undefined
  for (const candidate of inOrder(builder.times ?? [])) {
    const { kind, path, value } = candidate
    const time = named === undefined ? timeOf(candidate, arrival, place.index) : undefined
    if (time !== undefined) named = { time, path, value }
    else {
      if (named === undefined)
        builder.warn('TIME_INVALID', path, timeRule[kind === 'age_ms' ? kind : 'clock'])
      builder.keepTime(candidate)
    }
  }
  return named === undefined
    ? arrivalTime(arrival.receivedAt, arrival.messageId, place.index)
    : believe(builder, named, arrival, place)
}
