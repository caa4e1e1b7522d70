/** Rules and alerts in plain words. */
import type { Overview } from '../../answers.ts'
import { measure, span } from '../../format.ts'
import type { Tone } from '../../ui/status.tsx'
import type { Alert, Condition, Operator, Severity, Target } from './answers.ts'

const units = [
  ['w', 'week', 604_800],
  ['d', 'day', 86_400],
  ['h', 'hour', 3600],
  ['m', 'minute', 60],
  ['s', 'second', 1],
] as const

/** The units in which a duration is typed. */
export const typedUnits = [
  ['s', 'seconds'],
  ['m', 'minutes'],
  ['h', 'hours'],
  ['d', 'days'],
] as const

const plural = (number: number, word: string) =>
  `${number.toLocaleString()} ${word}${number === 1 ? '' : 's'}`

const partsOf = (duration: string) =>
  [...duration.matchAll(/(\d+)([wdhms])/g)].map(([, number, unit]) => ({ number: Number(number), unit }))

/** `5 minutes`, `1 hour 30 minutes`. @param duration as rules have it: `5m`. */
export const durationText = (duration: string) =>
  partsOf(duration)
    .map(({ number, unit }) => plural(number, units.find(([letter]) => letter === unit)?.[1] ?? ''))
    .join(' ')

/** A duration as one number and the largest unit that fits: `1h30m` is 90 minutes. */
export function typedDuration(duration: string): { readonly number: string; readonly unit: string } {
  const seconds = partsOf(duration).reduce(
    (sum, { number, unit }) => sum + number * (units.find(([letter]) => letter === unit)?.[2] ?? 0),
    0,
  )
  const fits = units.find(([letter, , size]) => letter !== 'w' && seconds >= size && seconds % size === 0)
  return fits === undefined ? { number: '', unit: 'm' } : { number: String(seconds / fits[2]), unit: fits[0] }
}

const signs: Readonly<Record<Operator, string>> = {
  '>': '>',
  '>=': '≥',
  '<': '<',
  '<=': '≤',
  '==': '=',
  '!=': '≠',
}
export const signOf = (op: Operator) => signs[op]

const opposites: Readonly<Record<Operator, string>> = {
  '>': '≤',
  '>=': '<',
  '<': '≥',
  '<=': '>',
  '==': '≠',
  '!=': '=',
}

/** A measured value; a text stands in quotation marks. */
export const valueText = (value: unknown): string => {
  if (value === null || value === undefined) return '–'
  if (typeof value === 'number') return measure(value)
  return typeof value === 'string' ? `“${value}”` : String(value)
}

/** What an alert has measured: a value of the readings, a count, or for how long a device is silent. */
export const measuredText = ({ kind }: Pick<Alert, 'kind'>, value: unknown): string =>
  (kind === 'no_data' || kind === 'offline') && typeof value === 'number' ? span(value) : valueText(value)

/** The same with the name of what was measured: `temperature 31.5`, `silent for 23 min`. */
export function measuredPhrase({ condition }: Pick<Alert, 'condition'>, value: unknown): string {
  const measured = measuredText(condition, value)
  switch (condition.kind) {
    case 'threshold':
      return `${condition.field} ${measured}`
    case 'no_data':
      return `silent for ${measured}`
    case 'offline':
      return `offline for ${measured}`
    case 'warnings':
      return `${measured} warnings`
    case 'dead_letters':
      return `${measured} dead letters`
  }
}

/** The name of a device, and its number once it is deleted. */
export const deviceText = ({ device_name: name, device_id: id }: Pick<Alert, 'device_name' | 'device_id'>) =>
  name ?? `device ${id}`

/** `Too warm on pump-7`. */
export const alertTitle = (alert: Pick<Alert, 'rule_name' | 'device_name' | 'device_id'>) =>
  `${alert.rule_name} on ${deviceText(alert)}`

/** Alerts that are open, acknowledged ones included. */
export const openCount = (overview: Overview | undefined) =>
  Object.values(overview?.alerts?.open ?? {}).reduce((sum, count) => sum + count, 0)

const lasting = (duration: string | undefined) =>
  duration === undefined || durationText(duration) === '' ? '' : ` for ${durationText(duration)}`

const orMore = (count: number) => `${count.toLocaleString()} or more`

/** `temperature > 30 for 5 minutes`. */
export function conditionText(condition: Condition): string {
  switch (condition.kind) {
    case 'threshold':
      return `${condition.field} ${signs[condition.op]} ${valueText(condition.value)}${lasting(condition.for)}`
    case 'no_data':
      return `no reading comes${lasting(condition.for)}`
    case 'offline':
      return `offline${lasting(condition.for)}`
    case 'warnings':
      return `${orMore(condition.count)} warnings come within ${durationText(condition.within)}`
    case 'dead_letters':
      return `${orMore(condition.count)} dead letters come within ${durationText(condition.within)}`
  }
}

/** When an alert is over: `temperature ≤ 28 for 1 minute`; undefined where it is so as soon as the condition ends. */
export function clearText(condition: Condition): string | undefined {
  if (condition.kind !== 'threshold') return undefined
  const { field, op, value, clear_value: clearValue, clear_for: clearFor } = condition
  if (clearValue === undefined && clearFor === undefined) return undefined
  // At the value itself the alert is over, too: `>` and `>=` both clear at a value ≤ the given one.
  const sign = clearValue === undefined ? opposites[op] : op.startsWith('>') ? '≤' : '≥'
  return `${field} ${sign} ${valueText(clearValue ?? value)}${lasting(clearFor)}`
}

/** `every device`, `type pump with site=north`. */
export function targetText({ device_id: id, device_type: type, selector }: Target): string {
  const parts = [
    id === undefined ? '' : `device ${id}`,
    type === undefined ? '' : `type ${type}`,
    selector ?? '',
  ].filter((part) => part !== '')
  return parts.length === 0 ? 'every device' : parts.join(' with ')
}

const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1)

/** `Critical when temperature > 30 for 5 minutes on site=north`. */
export const ruleSentence = (rule: {
  readonly severity: Severity
  readonly condition: Condition
  readonly target: Target
}) => `${capital(rule.severity)} when ${conditionText(rule.condition)} on ${targetText(rule.target)}`

export const toneOfSeverity: Readonly<Record<Severity, Tone>> = {
  critical: 'bad',
  warning: 'warn',
  info: 'accent',
}

const reasons: Readonly<Record<string, string>> = {
  condition: 'its condition ended',
  rule_changed: 'the rule was changed',
  rule_deleted: 'the rule was deleted',
  rule_disabled: 'the rule was disabled',
  device_changed: 'the rule does not fit the device any more',
  device_deleted: 'the device was deleted',
  maintenance: 'the device went into maintenance',
  inactive: 'the device became inactive',
}

/** Why an alert is over. */
export const clearReasonText = (reason: string) => reasons[reason] ?? reason.replaceAll('_', ' ')
