/**
 * What `time.ts` takes, as patterns for the description of the API. They are plain: engines beside that of JavaScript read
 * them too. They know no leap years.
 */

/** A pattern of the whole numbers from 1 to `max`: those with fewer digits, those below it from some digit on, itself. */
const upTo = (max: number): string => {
  const digits = [...String(max)].map(Number)
  const below = digits.flatMap((digit, i) => {
    const rest = digits.length - i - 1
    const least = i === 0 ? 1 : 0
    if (digit <= least) return []
    return `${digits.slice(0, i).join('')}[${least}-${digit - 1}]${rest > 0 ? `[0-9]{${rest}}` : ''}`
  })
  return [`[1-9][0-9]{0,${digits.length - 2}}`, ...below, max].join('|')
}

const [clock, minutes] = ['(?:[01][0-9]|2[0-3])', '[0-5][0-9]']
const day =
  '(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|[12][0-9]))'
const offset = `(?:[Zz]|[+-]${clock}(?::?${minutes})?)`

/** A time as a string: ISO 8601, or an epoch. */
export const timePattern =
  `(?:0[1-9]|[1-9][0-9])[0-9]{2}-${day}(?:[Tt ]${clock}:${minutes}(?::${minutes}(?:[.,][0-9]{1,9})?)?${offset}?)?` +
  '|[0-9]{1,11}(?:\\.[0-9]{1,9})?|[0-9]{12,19}'
/** `30s`, `5m`, `1h`, `7d` or `2w`, up to 36,500 days. */
export const durationPattern =
  `(?:${upTo(3_153_600_000)})s|(?:${upTo(52_560_000)})m|(?:${upTo(876_000)})h|` +
  `(?:${upTo(36_500)})d|(?:${upTo(5_214)})w`
/** A time, or a duration back from now. */
export const instantPattern = `${timePattern}|-(?:${durationPattern})`
