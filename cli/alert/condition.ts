/** Conditions and targets of alert rules: from options into the form of the API, and back into a line for people. */
import type { Command } from 'commander'
import { UsageError } from '../../scripts/command.ts'
import type { Answer, Api } from '../api.ts'
import { wholeNumber } from '../numbers.ts'

export interface ConditionOptions {
  readonly when?: string
  /** Of `--no-data`: `true` where it is not given, since commander takes it for the opposite of `--data`. */
  readonly data: string | true
  readonly offline?: boolean
  readonly warnings?: string
  readonly deadLetters?: string
  readonly for?: string
  readonly clear?: string
  readonly clearFor?: string
  readonly within?: string
}

export const addConditionOptions = (to: Command): Command =>
  to
    .option('--when <condition>', 'a field, >, >=, <, <=, == or !=, and a value: "temperature > 30"')
    .option('--no-data <duration>', 'no reading comes for so long: 30s, 10m, 1h30m')
    .option('--offline', 'the device is offline')
    .option('--warnings <count>', 'so many warnings about its readings, with --within')
    .option('--dead-letters <count>', 'so many messages that could not be stored, with --within')
    .option('--for <duration>', 'with --when or --offline: how long it lasts before the alert opens')
    .option('--clear <value>', 'with --when: the alert ends when the value has come back to this one')
    .option('--clear-for <duration>', 'with --when: how long the end lasts before the alert is cleared')
    .option('--within <duration>', 'the time in which warnings or dead letters are counted')

/** Signs around the operator are refused, so that `=>` is no field with the name `temperature =`. */
const comparison = /^\s*(?<field>.+?)(?<![=<>!])\s*(?<op>>=|<=|==|!=|>|<)\s*(?<value>[^=<>\s].*?)\s*$/su

const decimal = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i

/** A number, true or false; anything else, and what stands in quotes, is a text. */
const comparedValue = (text: string): number | boolean | string => {
  if (decimal.test(text)) return Number(text)
  if (text === 'true' || text === 'false') return text === 'true'
  return /^(["'])(.*)\1$/su.exec(text)?.[2] ?? text
}

/** @throws {UsageError} */
const thresholdOf = (text: string) => {
  const { field, op, value } = comparison.exec(text)?.groups ?? {}
  if (field === undefined || op === undefined || value === undefined)
    throw new UsageError(
      `--when must be a field, one of > >= < <= == !=, and a value, such as "temperature > 30", not "${text}".`,
    )
  return { kind: 'threshold', field, op, value: comparedValue(value) }
}

const clearValueOf = (text: string): number => {
  if (decimal.test(text)) return Number(text)
  throw new UsageError(`--clear must be a number, not "${text}".`)
}

/** The option that decides about the kind, and the condition without its further parts. */
const kindsOf = ({ when, data, offline, warnings, deadLetters }: ConditionOptions) => [
  ...(when === undefined ? [] : [thresholdOf(when)]),
  ...(data === true ? [] : [{ kind: 'no_data', for: data }]),
  ...(offline ? [{ kind: 'offline' }] : []),
  ...(warnings === undefined ? [] : [{ kind: 'warnings', count: wholeNumber('--warnings', warnings) }]),
  ...(deadLetters === undefined
    ? []
    : [{ kind: 'dead_letters', count: wholeNumber('--dead-letters', deadLetters) }]),
]

interface Part {
  readonly option: string
  /** In the condition of the API. */
  readonly name: string
  readonly kinds: readonly string[]
  /** The value of the option: undefined where it is not given, empty where it takes the part away. */
  readonly text: string | undefined
  readonly value?: (text: string) => unknown
}

const partsOf = ({ for: holds, clear, clearFor, within }: ConditionOptions): readonly Part[] => [
  { option: '--for', name: 'for', kinds: ['threshold', 'offline'], text: holds },
  { option: '--clear', name: 'clear_value', kinds: ['threshold'], text: clear, value: clearValueOf },
  { option: '--clear-for', name: 'clear_for', kinds: ['threshold'], text: clearFor },
  { option: '--within', name: 'within', kinds: ['warnings', 'dead_letters'], text: within },
]

const kindNames: Readonly<Record<string, string>> = {
  threshold: '--when',
  no_data: '--no-data',
  offline: '--offline',
  warnings: '--warnings',
  dead_letters: '--dead-letters',
}

/**
 * The condition that the options describe.
 * @param before that of the rule, whose parts stay unless an option names another kind; an empty text takes a part away.
 * @returns undefined when no option is about the condition.
 * @throws {UsageError}
 */
export function conditionOf(options: ConditionOptions, before?: Answer): Answer | undefined {
  const kinds = kindsOf(options)
  const parts = partsOf(options).filter(({ text }) => text !== undefined)
  if (kinds.length > 1)
    throw new UsageError(
      'A rule has one condition: name one of --when, --no-data, --offline, --warnings, --dead-letters.',
    )
  if (kinds.length === 0 && parts.length === 0) return undefined
  const [kind = before] = kinds
  const condition: Answer = kind?.kind === before?.kind ? { ...before, ...kind } : { ...kind }
  if (condition.kind === undefined)
    throw new UsageError('Name a condition: --when, --no-data, --offline, --warnings or --dead-letters.')
  for (const { option, name, kinds: fitting, text = '', value = (same: string) => same } of parts) {
    if (!fitting.includes(condition.kind))
      throw new UsageError(`${option} does not go with ${kindNames[condition.kind] ?? condition.kind}.`)
    if (text === '') delete condition[name]
    else condition[name] = value(text)
  }
  const isCount = condition.kind === 'warnings' || condition.kind === 'dead_letters'
  if (isCount && condition.within === undefined)
    throw new UsageError(`${kindNames[condition.kind]} needs --within, such as --within 1h.`)
  return condition
}

const withPart = (words: string, text: string | undefined) => (text === undefined ? '' : ` ${words} ${text}`)

const countedText = ({ kind, count }: Answer): string => {
  const one = kind === 'warnings' ? 'warning' : 'dead letter'
  return count === 1 ? one : `${one}s`
}

/** One line: `temperature > 30 for 5m, clears at 28`. */
export function conditionText(condition: Answer): string {
  switch (condition.kind) {
    case 'threshold': {
      const { field, op, value, for: holds, clear_value: clear, clear_for: clearFor } = condition
      const shown = typeof value === 'string' ? JSON.stringify(value) : value
      const end =
        clear === undefined && clearFor === undefined
          ? ''
          : `, clears${withPart('at', clear)}${withPart('after', clearFor)}`
      return `${field} ${op} ${shown}${withPart('for', holds)}${end}`
    }
    case 'no_data':
      return `no data for ${condition.for}`
    case 'offline':
      return `offline${withPart('for', condition.for)}`
    case 'warnings':
    case 'dead_letters':
      return `${condition.count} ${countedText(condition)} within ${condition.within}`
    default:
      return JSON.stringify(condition)
  }
}

export interface TargetOptions {
  readonly device?: string
  readonly type?: string
  readonly selector?: string
  readonly all?: boolean
}

export const addTargetOptions = (to: Command): Command =>
  to
    .option('--device <device>', 'this device only: its id or its name')
    .option('--type <type>', 'devices of this type only')
    .option('--selector <labels>', "devices with these labels only: 'site=north,floor!=2'")

/** @returns undefined when no option is about the devices. @throws {CommandError} when there is no such device. */
export async function targetOf(
  { device, type, selector, all }: TargetOptions,
  server: Api,
): Promise<Answer | undefined> {
  const isPart = device !== undefined || type !== undefined || selector !== undefined
  if (all && isPart) throw new UsageError('--all stands alone: it means every device.')
  if (all) return {}
  if (!isPart) return undefined
  return {
    device_id: device === undefined ? undefined : (await server.device(device)).id,
    device_type: type,
    selector,
  }
}

/** The devices of a rule on one line. */
export function targetText({ device_id: id, device_type: type, selector }: Answer): string {
  const parts = [
    ...(id === undefined ? [] : [`device ${id}`]),
    ...(type === undefined ? [] : [`type ${type}`]),
    ...(selector === undefined ? [] : [selector]),
  ]
  return parts.length === 0 ? 'all devices' : parts.join(', ')
}

/** Seconds and counts have many digits after the point at times, which no table needs. */
export const valueText = (value: unknown): string | number | null =>
  typeof value === 'number' ? Math.round(value * 1e6) / 1e6 : value === null ? null : String(value)
