/**
 * Alert rules: which devices they are about, and under which condition an alert opens and ends. Conditions and targets have the
 * form that the API and the database know.
 */
import { parseDuration } from '../telemetry/duration.ts'
import type { FieldValue } from '../telemetry/reading.ts'

export const severities = ['critical', 'warning', 'info'] as const
export type Severity = (typeof severities)[number]

export const operators = ['>', '>=', '<', '<=', '==', '!='] as const
export type Operator = (typeof operators)[number]

/** Judged where a reading passes. */
export interface ThresholdCondition {
  readonly kind: 'threshold'
  readonly field: string
  readonly op: Operator
  /** A text only with `==` and `!=`. Booleans are compared as 0 and 1. */
  readonly value: FieldValue
  /** Duration for which the condition holds before the alert opens. */
  readonly for?: string | undefined
  /** The alert ends when the value has come back to this one; only of a number with `>`, `>=`, `<` and `<=`. */
  readonly clear_value?: number | undefined
  /** Duration for which the alert's end has to last. */
  readonly clear_for?: string | undefined
}

/** Judged by a sweep over the fleet. */
export type TimedCondition =
  | { readonly kind: 'no_data'; readonly for: string }
  | { readonly kind: 'offline'; readonly for?: string | undefined }
  | { readonly kind: 'warnings' | 'dead_letters'; readonly count: number; readonly within: string }

export type Condition = ThresholdCondition | TimedCondition
export const conditionKinds = ['threshold', 'no_data', 'offline', 'warnings', 'dead_letters'] as const
export type ConditionKind = (typeof conditionKinds)[number]

/** The devices of a rule: those that fit everything that is given. Nothing given: every device. */
export interface RuleTarget {
  readonly device_id?: number | undefined
  readonly device_type?: string | undefined
  /** Over labels; see `lib/registry/selector.ts`. */
  readonly selector?: string | undefined
}

export interface NewRule {
  readonly name: string
  readonly enabled: boolean
  readonly severity: Severity
  readonly target: RuleTarget
  readonly condition: Condition
}

export interface Rule extends NewRule {
  readonly id: number
  /** Grows with each change of what is judged: the target, the condition, and whether it is enabled. */
  readonly revision: number
  /** Milliseconds since the epoch. */
  readonly createdAt: number
  readonly updatedAt: number
  readonly openAlerts: number
}

export const maxRules = 10_000

/** The longest duration of a rule: a year, ms. */
export const maxDurationMs = 366 * 86_400_000

/** A duration of the clock, with days of 24 h, in ms; undefined for anything else, and for more than a year. */
export function durationMs(text: string): number | undefined {
  const parsed = parseDuration(text)
  if (parsed === undefined || parsed.months > 0) return undefined
  const ms = (parsed.seconds + parsed.days * 86_400) * 1000
  return ms <= maxDurationMs ? ms : undefined
}

/** How long a breach lasts before the alert opens, and its end before it is cleared, ms. */
export function holdsOf(condition: Condition): { readonly holdMs: number; readonly clearHoldMs: number } {
  // A sweep decides itself how long a device has been silent.
  if (condition.kind !== 'threshold' && condition.kind !== 'offline') return { holdMs: 0, clearHoldMs: 0 }
  const ms = (text: string | undefined) => (text === undefined ? 0 : (durationMs(text) ?? 0))
  return {
    holdMs: ms(condition.for),
    clearHoldMs: condition.kind === 'threshold' ? ms(condition.clear_for) : 0,
  }
}

interface Problem {
  /** Inside the condition. */
  readonly path: string
  readonly message: string
}

const thresholdProblem = ({ op, value, clear_value: clear }: ThresholdCondition): Problem | undefined => {
  const isEquality = op === '==' || op === '!='
  if (typeof value === 'string' && !isEquality)
    return { path: 'value', message: 'must be a number: a text is compared by == and != only' }
  if (clear === undefined) return undefined
  if (isEquality || typeof value !== 'number')
    return { path: 'clear_value', message: 'goes with a number and >, >=, < or <= only' }
  const isBeyond =
    op === '>' ? clear > value : op === '>=' ? clear >= value : op === '<' ? clear < value : clear <= value
  return isBeyond
    ? { path: 'clear_value', message: 'must be a value under which the condition does not hold' }
    : undefined
}

/** What is wrong with a condition whose parts have the right types; undefined when nothing is. */
export function conditionProblem(condition: Condition): Problem | undefined {
  for (const path of ['for', 'clear_for', 'within'] as const) {
    const text = (condition as { readonly [name in typeof path]?: string })[path]
    if (text !== undefined && durationMs(text) === undefined)
      return { path, message: 'must be a duration such as 30s, 5m or 1h30m, of at most a year' }
  }
  return condition.kind === 'threshold' ? thresholdProblem(condition) : undefined
}
