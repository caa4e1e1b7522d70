/** Durations and instants as queries write them: `1h30m`, `1mo`, `-1h`, `2026-01-31T12:00:00`. */

import { epochOfLocal, localOfEpoch } from '../time-zone.ts'
import { endOfTime, parseTime } from './time.ts'

/** Units with a fixed length, in seconds. */
const clockUnits = { s: 1, m: 60, h: 3600 } as const
/** Units whose length the calendar of a time zone decides. */
const calendarUnits = { d: 'day', w: 'week', mo: 'month', y: 'year' } as const

/** The largest number before each unit: about a hundred years of it. */
export const largestOfUnit = {
  s: 3_153_600_000,
  m: 52_560_000,
  h: 876_000,
  d: 36_500,
  w: 5214,
  mo: 1200,
  y: 100,
} as const
type Unit = keyof typeof largestOfUnit

/** Parts of one duration, such as the two of `1h30m`. */
export const maxParts = 7

interface Part {
  readonly count: number
  readonly unit: Unit
}

const parseParts = (text: string): Part[] | undefined => {
  if (!/^(?:[1-9]\d{0,9}(?:mo|[smhdwy]))+$/.test(text)) return undefined
  const parts = [...text.matchAll(/(\d+)([a-z]+)/g)].map(([, count, unit]) => ({
    count: Number(count),
    unit: unit as Unit,
  }))
  const fits = parts.length <= maxParts && parts.every(({ count, unit }) => count <= largestOfUnit[unit])
  return fits ? parts : undefined
}

const isClockUnit = (unit: Unit): unit is keyof typeof clockUnits => unit in clockUnits

export interface Duration {
  readonly months: number
  readonly days: number
  readonly seconds: number
}

/** The length that a text such as `30s`, `1h30m`, `7d` or `1mo` names; undefined for anything else. */
export function parseDuration(text: string): Duration | undefined {
  let [months, days, seconds] = [0, 0, 0]
  const parts = parseParts(text)
  for (const { count, unit } of parts ?? []) {
    if (isClockUnit(unit)) seconds += count * clockUnits[unit]
    else if (unit === 'd' || unit === 'w') days += count * (unit === 'w' ? 7 : 1)
    else months += count * (unit === 'y' ? 12 : 1)
  }
  return parts && { months, days, seconds }
}

/** The length of the windows of an aggregation: of the clock, or a number of one unit of the calendar. */
export type WindowLength =
  | { readonly unit: 'second'; readonly count: number }
  | { readonly unit: (typeof calendarUnits)[keyof typeof calendarUnits]; readonly count: number }

/** Undefined for what is no duration, and for a duration that mixes a unit of the calendar with any other unit. */
export function parseWindow(text: string): WindowLength | undefined {
  const parts = parseParts(text)
  const [first] = parts ?? []
  if (parts === undefined || first === undefined) return undefined
  const { count, unit } = first
  if (!isClockUnit(unit)) return parts.length === 1 ? { unit: calendarUnits[unit], count } : undefined
  if (!parts.every((part) => isClockUnit(part.unit))) return undefined
  return { unit: 'second', count: parseDuration(text)?.seconds ?? 0 }
}

/** The same time of a day so many months earlier; the month's last day where that month is too short. */
const monthsBefore = (wallClockMs: number, months: number): number => {
  const date = new Date(wallClockMs)
  const day = date.getUTCDate()
  date.setUTCDate(1)
  date.setUTCMonth(date.getUTCMonth() - months)
  const lastDay = new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 0)).getUTCDate()
  date.setUTCDate(Math.min(day, lastDay))
  return date.getTime()
}

/** @param now ns since the epoch. Days and longer units keep the time on the clock of the zone. */
const before = (now: bigint, { months, days, seconds }: Duration, zone: string): bigint => {
  const clock = BigInt(seconds) * 1_000_000_000n
  if (months === 0 && days === 0) return now - clock
  const ms = now / 1_000_000n
  const wallClock = monthsBefore(localOfEpoch(zone, Number(ms)), months) - days * 86_400_000
  return BigInt(epochOfLocal(zone, wallClock)) * 1_000_000n + (now - ms * 1_000_000n) - clock
}

/**
 * The instant that a query's parameter names, ns since the epoch: a form of {@link parseTime}, or `-<duration>` before `now`.
 * Instants outside of 1970–2262 move to the edge of that range. Undefined for anything else.
 * @param zone IANA name: of ISO times without an offset, and of days and longer units.
 */
export function parseInstant(text: string, now: bigint, zone = 'UTC'): bigint | undefined {
  // A plus sign that was not escaped in a URL arrives as a blank.
  const written = /^\d{4}-.*T/.test(text) ? text.replace(/ (?=\d\d:?\d\d$)/, '+') : text
  const duration = text.startsWith('-') ? parseDuration(text.slice(1)) : undefined
  const time = duration
    ? before(now, duration, zone)
    : parseTime(written, (wallClockMs) => epochOfLocal(zone, wallClockMs))
  if (time === undefined) return undefined
  if (time < 0n) return 0n
  return time > endOfTime ? endOfTime : time
}
