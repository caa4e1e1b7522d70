/** A rule as its form has it: everything is text, until it is complete. */
import { type AlertRule, type Condition, type Operator, type Severity, severities } from './answers.ts'
import { typedDuration } from './words.ts'

export type Kind = Condition['kind']

export interface TypedDuration {
  readonly number: string
  readonly unit: string
}

export interface RuleDraft {
  readonly name: string
  readonly severity: Severity
  readonly kind: Kind
  readonly field: string
  readonly op: Operator
  readonly value: string
  readonly duration: TypedDuration
  readonly clearValue: string
  readonly clearDuration: TypedDuration
  readonly count: string
  readonly deviceId: string
  readonly deviceType: string
  readonly selector: string
}

const noDuration: TypedDuration = { number: '', unit: 'm' }

/** A number, true or false is what it says; quotation marks make a text of it. */
export function parseValue(text: string): number | boolean | string | undefined {
  const trimmed = text.trim()
  const quoted = /^(?:"(.*)"|“(.*)”)$/s.exec(trimmed)
  if (quoted) return quoted[1] ?? quoted[2]
  if (trimmed === '') return undefined
  if (trimmed === 'true' || trimmed === 'false') return trimmed === 'true'
  return Number.isFinite(Number(trimmed)) ? Number(trimmed) : trimmed
}

const textOfValue = (value: number | boolean | string) =>
  typeof value === 'string' && typeof parseValue(value) !== 'string' ? `"${value}"` : String(value)

const duration = (text: string | undefined) => (text === undefined ? noDuration : typedDuration(text))

const conditionTexts = (condition: Condition): Partial<RuleDraft> => {
  switch (condition.kind) {
    case 'threshold':
      return {
        field: condition.field,
        op: condition.op,
        value: textOfValue(condition.value),
        duration: duration(condition.for),
        clearValue: condition.clear_value === undefined ? '' : String(condition.clear_value),
        clearDuration: duration(condition.clear_for),
      }
    case 'no_data':
    case 'offline':
      return { duration: duration(condition.for) }
    case 'warnings':
    case 'dead_letters':
      return { count: String(condition.count), duration: duration(condition.within) }
  }
}

/** The form of a new rule, or of one that is edited. */
export const draftOf = (rule?: AlertRule): RuleDraft => ({
  name: rule?.name ?? '',
  severity: rule?.severity ?? severities[1],
  kind: rule?.condition.kind ?? 'threshold',
  field: '',
  op: '>',
  value: '',
  duration: rule === undefined ? { number: '5', unit: 'm' } : noDuration,
  clearValue: '',
  clearDuration: noDuration,
  count: '1',
  deviceId: rule?.target.device_id === undefined ? '' : String(rule.target.device_id),
  deviceType: rule?.target.device_type ?? '',
  selector: rule?.target.selector ?? '',
  ...(rule === undefined ? {} : conditionTexts(rule.condition)),
})

/** `5m`; undefined for an empty number and for 0, which mean: at once. */
const durationOf = ({ number, unit }: TypedDuration) =>
  Number(number) > 0 ? `${Number(number)}${unit}` : undefined

export const isOrder = (op: Operator) => op !== '==' && op !== '!='

const given = <Name extends string, Value>(name: Name, value: Value | undefined) =>
  (value === undefined ? {} : { [name]: value }) as Partial<Record<Name, Value>>

const conditionOf = (draft: RuleDraft): Condition | undefined => {
  const { kind, field, op, clearValue, clearDuration, count } = draft
  const lasting = durationOf(draft.duration)
  switch (kind) {
    case 'threshold': {
      const value = parseValue(draft.value)
      if (field.trim() === '' || value === undefined) return undefined
      return {
        kind,
        field: field.trim(),
        op,
        value,
        ...given('for', lasting),
        ...given('clear_value', clearValue.trim() === '' || !isOrder(op) ? undefined : Number(clearValue)),
        ...given('clear_for', durationOf(clearDuration)),
      }
    }
    case 'no_data':
      return lasting === undefined ? undefined : { kind, for: lasting }
    case 'offline':
      return { kind, ...given('for', lasting) }
    case 'warnings':
    case 'dead_letters':
      return lasting === undefined || !(Number(count) >= 1)
        ? undefined
        : { kind, count: Number(count), within: lasting }
  }
}

export type RuleBody = Pick<AlertRule, 'name' | 'severity' | 'target' | 'condition'>

/** The rule as the API takes it; undefined while something that it needs is missing. */
export function ruleOf(draft: RuleDraft): RuleBody | undefined {
  const condition = conditionOf(draft)
  if (condition === undefined) return undefined
  const { name, severity, deviceId, deviceType, selector } = draft
  return {
    name: name.trim(),
    severity,
    condition,
    target: {
      ...given('device_id', deviceId.trim() === '' ? undefined : Number(deviceId)),
      ...given('device_type', deviceType.trim() === '' ? undefined : deviceType.trim()),
      ...given('selector', selector.trim() === '' ? undefined : selector.trim()),
    },
  }
}
