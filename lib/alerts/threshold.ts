/** What a value says about a threshold: whether it breaks the rule, and whether an alert may end. */
import type { FieldValue } from '../telemetry/reading.ts'
import type { Verdict } from '../telemetry/samples.ts'
import type { Operator, ThresholdCondition } from './rule.ts'

type Compare = (value: number, limit: number) => boolean

const comparisons: Readonly<Record<Operator, Compare>> = {
  '>': (value, limit) => value > limit,
  '>=': (value, limit) => value >= limit,
  '<': (value, limit) => value < limit,
  '<=': (value, limit) => value <= limit,
  '==': (value, limit) => value === limit,
  '!=': (value, limit) => value !== limit,
}

const isText = (value: FieldValue): value is string => typeof value === 'string'

const judgeText =
  (limit: string, isBreachIfEqual: boolean) =>
  (value: FieldValue): Verdict | undefined => {
    if (!isText(value)) return undefined
    return (value === limit) === isBreachIfEqual ? 1 : -1
  }

/**
 * Judges values by a condition. A value of another kind, text beside numbers and booleans, says nothing.
 * @returns what gives undefined for a value that says nothing.
 */
export function judgeOf({
  op,
  value: limit,
  clear_value: clear,
}: Pick<ThresholdCondition, 'op' | 'value' | 'clear_value'>): (value: FieldValue) => Verdict | undefined {
  if (isText(limit)) return judgeText(limit, op === '==')
  const [isBreach, bound] = [comparisons[op], Number(limit)]
  if (clear === undefined)
    return (value) => (isText(value) ? undefined : isBreach(Number(value), bound) ? 1 : -1)
  const isBack = op.startsWith('>') ? comparisons['<='] : comparisons['>=']
  return (value) => {
    if (isText(value)) return undefined
    if (isBreach(Number(value), bound)) return 1
    return isBack(Number(value), clear) ? -1 : 0
  }
}
