/** Numbers and times as people read them, in the language of the browser. */

const whole = new Intl.NumberFormat()
const short = new Intl.NumberFormat(undefined, { notation: 'compact', maximumFractionDigits: 1 })
const decimal = new Intl.NumberFormat(undefined, { maximumFractionDigits: 2 })

/** `12,345`. */
export const count = (value: number) => whole.format(value)
/** `1.2M`; exact below 100,000. */
export const compactCount = (value: number) => (value < 100_000 ? whole.format(value) : short.format(value))
/** A rate or a measured value, with two digits behind the point at most. */
export const measure = (value: number) => decimal.format(value)

/** `1.2 KB`. */
export function bytes(value: number): string {
  if (value < 1000) return `${value} B`
  if (value < 1_000_000) return `${decimal.format(Math.round(value / 10) / 100)} KB`
  return `${decimal.format(Math.round(value / 10_000) / 100)} MB`
}

const steps: readonly (readonly [number, string])[] = [
  [86_400, 'd'],
  [3600, 'h'],
  [60, 'min'],
]

/** A span of time in its largest unit: `3 min`. @param seconds at least 0. */
export function span(seconds: number): string {
  for (const [size, unit] of steps) if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`
  return `${Math.floor(seconds)} s`
}

/** `3 min ago`, `now`, `in 5 s`. @param now milliseconds since the epoch. */
export function age(time: string, now: number): string {
  const seconds = (now - Date.parse(time)) / 1000
  if (Math.abs(seconds) < 2) return 'now'
  return seconds > 0 ? `${span(seconds)} ago` : `in ${span(-seconds)}`
}

const dateTime = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' })
const clock = new Intl.DateTimeFormat(undefined, { hour: 'numeric', minute: '2-digit' })

/** Date and time in the time zone of the browser. */
export const localTime = (time: string) => dateTime.format(new Date(time))
/** Hours and minutes in the time zone of the browser. */
export const clockTime = (time: string) => clock.format(new Date(time))

/** The later of two times, ISO 8601; null stands for never. */
export const laterTime = (a: string | null, b: string | null) => (b !== null && (a === null || b > a) ? b : a)
