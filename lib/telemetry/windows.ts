/** The windows of an aggregation. Both stores get their bounds from here, so that a reading is in the same window in both. */
import { AppError } from '../errors.ts'
import { epochOfLocal, localOfEpoch } from '../time-zone.ts'
import type { WindowLength } from './duration.ts'
import type { TimeRange } from './store.ts'

/** Most windows in the answer of one aggregation. */
const maxWindows = 10_000

/**
 * Where windows begin, s since the epoch: at whole multiples of a length, or at each of these instants, ascending. All
 * bounds are whole seconds. A plain object, because it is sent to the thread that reads.
 */
export type WindowBounds = { readonly every: number } | { readonly starts: readonly number[] }

/** The windows of a calendar, numbered: 0 is the one that contains 1970-01-01; weeks begin on Monday. */
interface Calendar {
  /** @param wallClockMs ms since the epoch at which UTC shows the local time. */
  numberAt(wallClockMs: number): number
  /** The local time at which a window begins, as `wallClockMs`. */
  startOf(number: number): number
}

const dayMs = 86_400_000
/** Monday 1969-12-29. */
const firstMondayMs = -3 * dayMs

const daysOf = (days: number, firstMs: number): Calendar => ({
  numberAt: (wallClockMs) => Math.floor((wallClockMs - firstMs) / (days * dayMs)),
  startOf: (number) => firstMs + number * days * dayMs,
})

const monthsOf = (months: number): Calendar => ({
  numberAt(wallClockMs) {
    const date = new Date(wallClockMs)
    return Math.floor(((date.getUTCFullYear() - 1970) * 12 + date.getUTCMonth()) / months)
  },
  startOf: (number) => Date.UTC(1970, number * months),
})

const calendarOf = ({ unit, count }: WindowLength): Calendar | undefined => {
  if (unit === 'day') return daysOf(count, 0)
  if (unit === 'week') return daysOf(7 * count, firstMondayMs)
  if (unit === 'month') return monthsOf(count)
  return unit === 'year' ? monthsOf(12 * count) : undefined
}

const requireFew = (windows: number): void => {
  if (windows <= maxWindows) return
  const message = `makes more than ${maxWindows} windows of this range`
  throw new AppError('VALIDATION_FAILED', `window ${message}.`, { details: [{ path: 'window', message }] })
}

const secondOf = (ns: bigint): number => Number(ns / 1_000_000_000n)

/** The instants between which the windows of a range lie, from the start of the first one. */
const calendarStarts = (calendar: Calendar, zone: string, { from, to }: TimeRange): number[] => {
  const [first, last] = [secondOf(from), secondOf(to - 1n)]
  const firstNumber = calendar.numberAt(localOfEpoch(zone, first * 1000))
  const lastNumber = calendar.numberAt(localOfEpoch(zone, last * 1000))
  requireFew(lastNumber - firstNumber + 1)
  const starts: number[] = []
  // A change of the clock at midnight can put an instant into the window before or after the one of its local date.
  for (let number = firstNumber - 1; number <= lastNumber + 1; number += 1) {
    const start = epochOfLocal(zone, calendar.startOf(number)) / 1000
    if (start > last) break
    // The window before has no instant: it ended before the range, or the zone skipped its days.
    if (start <= first || starts.at(-1) === start) starts.pop()
    starts.push(start)
  }
  return starts
}

/**
 * The bounds of the windows of a range, the first one aligned.
 * @param zone IANA name, of windows with a unit of the calendar.
 * @throws {AppError} VALIDATION_FAILED for more than 10,000 windows.
 */
export function windowBounds(length: WindowLength, zone: string, range: TimeRange): WindowBounds {
  if (range.to <= range.from) return { starts: [] }
  const calendar = calendarOf(length)
  if (calendar !== undefined) return { starts: calendarStarts(calendar, zone, range) }
  const [first, last] = [secondOf(range.from), secondOf(range.to - 1n)]
  requireFew(Math.floor(last / length.count) - Math.floor(first / length.count) + 1)
  return { every: length.count }
}

/** Starts of all windows of a range, s since the epoch, ascending. */
export function windowStarts(bounds: WindowBounds, { from, to }: TimeRange): readonly number[] {
  if (to <= from) return []
  const last = secondOf(to - 1n)
  if ('starts' in bounds) return bounds.starts.filter((start) => start <= last)
  const starts: number[] = []
  const first = secondOf(from)
  for (let start = first - (first % bounds.every); start <= last; start += bounds.every) starts.push(start)
  return starts
}

/** A window: the second at which it begins, and the one at which the next begins. */
export interface Window {
  readonly start: number
  readonly end: number
}

/** The window that contains a second of the range for which the bounds were made. */
export function windowAt(bounds: WindowBounds, second: number): Window {
  if ('every' in bounds) {
    const start = second - (second % bounds.every)
    return { start, end: start + bounds.every }
  }
  const { starts } = bounds
  let [low, high] = [0, starts.length]
  while (high - low > 1) {
    const middle = (low + high) >> 1
    if ((starts[middle] as number) <= second) low = middle
    else high = middle
  }
  return { start: starts[low] ?? second, end: starts[low + 1] ?? Number.POSITIVE_INFINITY }
}
