/**
 * Local times of IANA time zones, by the data that Node carries. Ingest needs only an offset, so that `Intl` is enough: a
 * library for calendars would add 20 KB or more to every function.
 */

const minuteMs = 60_000
const dayMs = 86_400_000

/** Zones whose formatter is kept: making one costs half a millisecond, using it two microseconds. */
const maxZones = 100
const formatters = new Map<string, Intl.DateTimeFormat>()

/** Longest name that is looked up; the longest of today has 32 characters. */
const maxTimeZoneName = 64
/** Newer versions of Node also take offsets such as `+01:00`, which are no names. */
const shape = /^[A-Za-z][A-Za-z0-9_+\-/]*$/

const formatterOf = (zone: string): Intl.DateTimeFormat => {
  const name = zone.toLowerCase()
  let formatter = formatters.get(name)
  if (formatter === undefined) {
    formatter = new Intl.DateTimeFormat('en-US', { timeZone: zone, timeZoneName: 'longOffset' })
    const [oldest] = formatters.keys()
    if (oldest !== undefined && formatters.size >= maxZones) formatters.delete(oldest)
    formatters.set(name, formatter)
  }
  return formatter
}

/** Whether it is the name of an IANA time zone, in any case: `Europe/Berlin`, `UTC`. */
export function isTimeZone(name: string): boolean {
  if (name.length > maxTimeZoneName || !shape.test(name)) return false
  try {
    formatterOf(name)
    return true
  } catch {
    return false
  }
}

/** `GMT`, `GMT+05:30`, and with seconds for some zones before 1972. */
const offsetShape = /GMT(?:([+\-\u2212])(\d\d):(\d\d)(?::(\d\d))?)?$/

/** Milliseconds that local time is ahead of UTC at this instant. */
const offsetAt = (zone: string, epochMs: number): number => {
  const [, sign, hours = 0, minutes = 0, seconds = 0] =
    offsetShape.exec(formatterOf(zone).format(epochMs)) ?? []
  const ms = (Number(hours) * 60 + Number(minutes)) * minuteMs + Number(seconds) * 1000
  return sign === undefined || sign === '+' ? ms : -ms
}

const isUtc = (zone: string): boolean => zone === 'UTC'

/**
 * The clock on the wall at an instant, as the milliseconds since the epoch at which UTC shows the same.
 * @param zone for which {@link isTimeZone} holds.
 */
export const localOfEpoch = (zone: string, epochMs: number): number =>
  isUtc(zone) ? epochMs : epochMs + offsetAt(zone, epochMs)

/**
 * The instant at which the clock on the wall shows a time, ms since the epoch. Of two instants (the hour that a change of the
 * clock repeats) it is the one nearest to `near`, without it the earlier. A time that a change skips moves forward by what
 * the clock skipped.
 * @param zone for which {@link isTimeZone} holds. @param wallClockMs ms since the epoch at which UTC shows that time.
 */
export function epochOfLocal(zone: string, wallClockMs: number, near?: number): number {
  if (isUtc(zone)) return wallClockMs
  // No zone is a day away from UTC, so that these two instants lie around every candidate.
  const before = offsetAt(zone, wallClockMs - dayMs)
  const after = offsetAt(zone, wallClockMs + dayMs)
  const candidates = before === after ? [before] : [before, after]
  const instants = candidates
    .map((offset) => wallClockMs - offset)
    .filter((instant) => localOfEpoch(zone, instant) === wallClockMs)
    .sort((one, other) => one - other)
  const [earlier, later] = instants
  if (earlier === undefined) return wallClockMs - before
  if (later === undefined || near === undefined) return earlier
  return Math.abs(later - near) < Math.abs(earlier - near) ? later : earlier
}
