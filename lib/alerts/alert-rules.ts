/** The alert rules that judge readings, as one process knows them: which are about a device, and what a value says about each. */
import type { Log } from '../log.ts'
import { fitsSelector, parseSelector } from '../registry/selector.ts'
import type { Sender } from '../telemetry/delivery.ts'
import type { EmbeddedDatabase } from '../telemetry/embedded/database.ts'
import type { FieldValue, Reading } from '../telemetry/reading.ts'
import type { Sample, Sampler, Verdict } from '../telemetry/samples.ts'
import type { RuleTarget, ThresholdCondition } from './rule.ts'
import { judgeOf } from './threshold.ts'

/** The longest time for which a change of the rules by another process goes unnoticed, ms. */
const refreshMs = 5000

/** Devices whose rules are remembered. */
const maxDevices = 50_000

/** Readings of one message times the rules of its device: of more, only the newest readings are judged. */
const maxLooks = 100_000

/** Characters of a text that an alert shows. */
const maxShown = 256

/** A value as an alert shows it. */
const beginOf = (value: FieldValue): FieldValue =>
  typeof value === 'string' && value.length > maxShown
    ? `${value.slice(0, maxShown - 1).replace(/[\ud800-\udbff]$/, '')}…`
    : value

type Labels = Readonly<Record<string, string>>

interface CompiledRule {
  readonly id: number
  readonly revision: number
  readonly deviceId: number | undefined
  readonly field: string
  readonly judge: (value: FieldValue) => Verdict | undefined
  readonly isFor: (sender: Sender) => boolean
}

interface RulesOfDevice extends Pick<Sender, 'deviceType' | 'labels'> {
  readonly rules: readonly CompiledRule[]
}

const noLabels: Labels = {}

const onlyFirst: readonly number[] = [0]

/** Places of the newest readings, the oldest first: a message may have them in any order. */
const newestInOrder = (readings: readonly Reading[], count: number): readonly number[] => {
  if (readings.length === 1) return onlyFirst
  const timeOf = (at: number) => readings[at]?.time ?? 0n
  const inOrder = readings.map((_, at) => at).sort((one, other) => Number(timeOf(one) - timeOf(other)))
  return inOrder.slice(-count)
}

/** The text as V8 keeps the names of members: to look it up in an object is then cheap. */
const asMemberName = (text: string): string => Object.keys({ [text]: true })[0] ?? text

const compile = (
  id: number,
  revision: number,
  { device_id: deviceId, device_type: deviceType, selector }: RuleTarget,
  { field, ...condition }: ThresholdCondition,
): CompiledRule => {
  const parsed = selector === undefined ? undefined : parseSelector(selector)
  return {
    id,
    revision,
    deviceId,
    field: asMemberName(field),
    judge: judgeOf(condition),
    isFor: (sender) =>
      (deviceType === undefined || sender.deviceType === deviceType) &&
      (parsed === undefined || fitsSelector(parsed, sender.labels ?? noLabels)),
  }
}

export interface AlertRulesOptions {
  readonly database: Pick<EmbeddedDatabase, 'query'>
  readonly log: Log
  /** The process runs between messages: it looks for changes by a timer, otherwise with the next message. */
  readonly background: boolean
}

export class AlertRules implements Sampler {
  readonly #options: AlertRulesOptions
  readonly #rules = new Map<number, CompiledRule>()
  /** Rules of one device, by its id; all others stand in `#general`. */
  readonly #ofDevice = new Map<number, Set<CompiledRule>>()
  readonly #general = new Set<CompiledRule>()
  /** Of the rules as they were read; none was read yet below 0. */
  #version = -1
  #known = new Map<number, RulesOfDevice>()
  #loading: Promise<void> | undefined
  /** By performance.now(): the begin of the last look that succeeded. */
  #lookedAt = Number.NEGATIVE_INFINITY
  readonly #timer: NodeJS.Timeout | undefined

  constructor(options: AlertRulesOptions) {
    this.#options = options
    if (options.background) this.#timer = setInterval(() => void this.#look(), refreshMs).unref()
    // The first message needs them: they are asked for beside whatever else it needs.
    void this.#look()
  }

  ready(): Promise<void> | undefined {
    if (this.#version >= 0 && this.#options.background) return undefined
    if (performance.now() - this.#lookedAt < refreshMs) return undefined
    return this.#look()
  }

  samplesOf(sender: Sender, readings: readonly Reading[]): readonly Sample[] | undefined {
    if (this.#rules.size === 0 || sender.status === 'maintenance') return undefined
    const rules = this.#rulesOf(sender)
    if (rules.length === 0) return undefined
    let samples: Sample[] | undefined
    for (const at of newestInOrder(readings, Math.max(Math.floor(maxLooks / rules.length), 1))) {
      const fields = readings[at]?.fields ?? {}
      for (const { id, revision, field, judge } of rules) {
        // A rule may name `constructor`, which every object has.
        const value = Object.hasOwn(fields, field) ? fields[field] : undefined
        if (value === undefined) continue
        const verdict = judge(value)
        if (verdict === undefined) continue
        samples ??= []
        samples.push({ rule: id, revision, at, verdict, value: beginOf(value) })
      }
    }
    return samples
  }

  /** Reads the rules anew: readings that come from now on are judged by them. Never rejects. */
  async refresh(): Promise<void> {
    // A look that has begun may have missed the change.
    await this.#loading
    await this.#look()
  }

  close(): void {
    clearInterval(this.#timer)
  }

  #look(): Promise<void> {
    this.#loading ??= this.#load().finally(() => {
      this.#loading = undefined
    })
    return this.#loading
  }

  async #load(): Promise<void> {
    const began = performance.now()
    try {
      const rows = await this.#options.database.query('judgingRules', { version: this.#version })
      const version = Number(rows[0]?.[0] ?? 0)
      if (version < this.#version) this.#forgetAll()
      else if (version > this.#version) this.#take(version, rows)
      this.#lookedAt = began
    } catch (error) {
      this.#options.log.warn('the alert rules could not be read', { error })
    }
  }

  #take(version: number, rows: readonly (readonly unknown[])[]): void {
    this.#known = new Map()
    for (const [, id, revision, target, condition] of rows) {
      if (id === null) continue
      this.#remove(Number(id))
      if (target !== null) this.#add(Number(id), Number(revision), String(target), String(condition))
    }
    this.#version = version
  }

  /** The database is an older one than before: everything is to be read again. */
  #forgetAll(): void {
    for (const id of [...this.#rules.keys()]) this.#remove(id)
    this.#known = new Map()
    this.#version = -1
  }

  #remove(id: number): void {
    const rule = this.#rules.get(id)
    if (rule === undefined) return
    this.#rules.delete(id)
    this.#general.delete(rule)
    const { deviceId = 0 } = rule
    const ofDevice = this.#ofDevice.get(deviceId)
    ofDevice?.delete(rule)
    if (ofDevice?.size === 0) this.#ofDevice.delete(deviceId)
  }

  #add(id: number, revision: number, target: string, condition: string): void {
    try {
      const rule = compile(id, revision, JSON.parse(target), JSON.parse(condition))
      this.#rules.set(id, rule)
      const { deviceId } = rule
      if (deviceId === undefined) this.#general.add(rule)
      else this.#ofDevice.set(deviceId, (this.#ofDevice.get(deviceId) ?? new Set()).add(rule))
    } catch (error) {
      // One rule that cannot be read, of a later version for one, must not hold up the others.
      this.#options.log.warn('an alert rule is left out', { error, rule_id: id })
    }
  }

  #rulesOf(sender: Sender): readonly CompiledRule[] {
    const { id, deviceType, labels } = sender
    const known = this.#known.get(id)
    if (known !== undefined && known.deviceType === deviceType && known.labels === labels) return known.rules
    const rules = [...this.#general, ...(this.#ofDevice.get(id) ?? [])].filter(({ isFor }) => isFor(sender))
    if (this.#known.size >= maxDevices) this.#known.clear()
    this.#known.set(id, { deviceType, labels, rules })
    return rules
  }
}
