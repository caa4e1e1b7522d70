/**
 * Patterns of the forms that `time.ts` and `duration.ts` parse, for the OpenAPI document. Regular expression engines other than JavaScript's
 * read them too. The patterns allow 29 February in every year.
 */
import { largestOfUnit, maxParts } from '../duration.ts'

/** A pattern of the whole numbers from 1 to `max`: shorter ones, then those that are smaller at one digit, then `max`. */
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
const units = Object.entries(largestOfUnit)
const unitsOf = (some: readonly string[]): string =>
  units.flatMap(([unit, largest]) => (some.includes(unit) ? [`(?:${upTo(largest)})${unit}`] : [])).join('|')
/** Up to {@link maxParts} numbers with their units: `30s`, `1h30m`, `1mo`. */
const durationPattern = `(?:${unitsOf(Object.keys(largestOfUnit))}){1,${maxParts}}`
/** Units of the clock as in {@link durationPattern}, or one number with a unit of the calendar. */
export const windowPattern = `(?:${unitsOf(['s', 'm', 'h'])}){1,${maxParts}}|${unitsOf(['d', 'w', 'mo', 'y'])}`
/** A time, or a duration back from now. */
export const instantPattern = `${timePattern}|-${durationPattern}`
