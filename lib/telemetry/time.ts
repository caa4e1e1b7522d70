/** Instants as nanoseconds since the epoch: parsed from the forms that devices and people write, formatted as ISO 8601. */

const nsPerMs = 1_000_000n
const nsPerS = 1_000_000_000n

/** Nanoseconds of an hour. */
export const hourNs = 3600n * nsPerS

/** The last instant that a signed 64-bit number of nanoseconds can hold, in the year 2262. */
export const endOfTime = 2n ** 63n - 1n

/** The last formatted second: most times are within the same second as the time before. */
let lastSecond = { at: Number.NaN, text: '' }

/** ISO 8601 in UTC with 0, 3, 6 or 9 fraction digits, the fewest that are exact. */
export function formatTime(ns: bigint): string {
  let second = Number(ns / nsPerS)
  let below = Number(ns % nsPerS)
  if (below < 0) {
    below += 1_000_000_000
    second -= 1
  }
  if (second !== lastSecond.at)
    lastSecond = { at: second, text: new Date(second * 1000).toISOString().slice(0, -5) }
  if (below === 0) return `${lastSecond.text}Z`
  const digits = String(below).padStart(9, '0')
  const exact = digits.endsWith('000000') ? 3 : digits.endsWith('000') ? 6 : 9
  return `${lastSecond.text}.${digits.slice(0, exact)}Z`
}

const iso =
  /^(\d{4})-(\d\d)-(\d\d)(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?(?:([Zz])|([+-])(\d\d):?(\d\d)?)?)?$/

/** Turns a local time, as ms since the epoch at which UTC shows it, into ms since the epoch. */
export type OfLocalTime = (wallClockMs: number) => number

const parseIso = (text: string, ofLocal: OfLocalTime | undefined): bigint | undefined => {
  const match = iso.exec(text)
  if (match === null) return undefined
  const [, year, month, day, hour = '0', minute = '0', second = '0', fraction = '', utc, sign] = match
  const midnight = new Date(Date.UTC(Number(year), Number(month) - 1, Number(day)))
  // Date.UTC takes the years 0 to 99 for 1900 to 1999, and 31 June for 1 July.
  const exists =
    midnight.getUTCFullYear() === Number(year) &&
    midnight.getUTCMonth() === Number(month) - 1 &&
    midnight.getUTCDate() === Number(day)
  if (!exists || Number(hour) > 23 || Number(minute) > 59 || Number(second) > 59) return undefined
  const [offsetHours, offsetMinutes] = [Number(match[10] ?? 0), Number(match[11] ?? 0)]
  if (offsetHours > 23 || offsetMinutes > 59) return undefined
  const offsetMs = (offsetHours * 60 + offsetMinutes) * 60_000 * (sign === '-' ? -1 : 1)
  const wallClockMs =
    midnight.getTime() + Number(hour) * 3_600_000 + Number(minute) * 60_000 + Number(second) * 1000
  const isLocal = ofLocal !== undefined && utc === undefined && sign === undefined
  const ms = isLocal ? ofLocal(wallClockMs) : wallClockMs - offsetMs
  return BigInt(ms) * nsPerMs + BigInt(fraction.padEnd(9, '0'))
}

/** Epochs since 1973 differ by three digits from one unit to the next; seconds reach to the year 5138. */
const [secondsBelow, millisBelow, microsBelow] = [1e11, 1e14, 1e17]

const parseEpoch = (value: number): bigint | undefined => {
  if (!(value >= 0 && value < microsBelow)) return undefined
  // To whole microseconds: a double holds no more of an instant of today.
  const scale = value < secondsBelow ? 1e6 : value < millisBelow ? 1e3 : 1
  return BigInt(Math.round(value * scale)) * 1000n
}

const parseEpochText = (text: string): bigint | undefined => {
  const match = /^(\d{1,19})(?:\.(\d{1,9}))?$/.exec(text)
  if (match === null) return undefined
  const whole = BigInt(match[1] ?? '')
  if (whole < BigInt(secondsBelow)) return whole * nsPerS + BigInt((match[2] ?? '').padEnd(9, '0'))
  if (match[2] !== undefined) return undefined
  if (whole < BigInt(millisBelow)) return whole * nsPerMs
  return whole < BigInt(microsBelow) ? whole * 1000n : whole
}

/**
 * The instant that a value of JSON names, in nanoseconds since the epoch; undefined when it names none. ISO 8601, an epoch in
 * seconds, ms or µs by its magnitude, as a string in ns too.
 * @param ofLocal reads an ISO time that names no offset; without it such a time is UTC.
 */
export function parseTime(value: unknown, ofLocal?: OfLocalTime): bigint | undefined {
  if (typeof value === 'number') return parseEpoch(value)
  if (typeof value !== 'string' || value.length > 40) return undefined
  return parseIso(value, ofLocal) ?? parseEpochText(value)
}
