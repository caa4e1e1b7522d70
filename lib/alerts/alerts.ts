/** The service of alerts: rules, alerts, and the outbox of what others are to be told. */
import { AppError } from '../errors.ts'
import {
  type AlertFilter,
  type StoredAlert,
  toAlert as toStoredAlert,
} from '../telemetry/embedded/alert-queries.ts'
import { alertRequests } from '../telemetry/embedded/alert-requests.ts'
import { type RuleRow, type StoredRule, toRule } from '../telemetry/embedded/alert-rules-table.ts'
import type { SampleRow } from '../telemetry/embedded/alert-states.ts'
import type { EmbeddedDatabase } from '../telemetry/embedded/database.ts'
import type { Freshness } from '../telemetry/store.ts'
import {
  type Alert,
  type AlertEvent,
  type AlertState,
  type ClearReason,
  eventOf,
  type HistoryEntry,
  historyOf,
  type Transition,
  toAlert,
} from './alert.ts'
import {
  type Condition,
  type ConditionKind,
  conditionProblem,
  durationMs,
  holdsOf,
  maxRules,
  type NewRule,
  type Rule,
  type RuleTarget,
  type Severity,
  severities,
} from './rule.ts'

/** A sample of the sweep over the fleet: what the state of a device says about a rule of a timed kind. */
export interface TimedSample {
  readonly rule: Pick<Rule, 'id' | 'revision'>
  readonly deviceId: number
  /** When it became so, ms since the epoch; a sample that is not newer than the one before changes nothing. */
  readonly at: number
  /** 1: the condition holds. -1: it does not, so that an alert ends. */
  readonly verdict: 1 | -1
  /** What the alert shows: seconds of silence, a number of warnings; null for none. */
  readonly value: number | null
}

export interface AlertQuery {
  readonly state?: AlertState | undefined
  readonly severity?: Severity | undefined
  readonly deviceId?: number | undefined
  readonly ruleId?: number | undefined
}

export interface AlertsOptions {
  readonly database: Pick<EmbeddedDatabase, 'query' | 'writer' | 'learn'>
  /** Resolves when readings that come to this process are judged by the changed rules. */
  readonly rulesChanged?: (() => Promise<void>) | undefined
  /** Milliseconds since the epoch. */
  readonly now?: (() => number) | undefined
}

const nsPerMs = 1_000_000n

/** Samples of one transaction. */
const samplesAtOnce = 5000

/** Notes of one alert. */
export const maxNotes = 100

/** How long an alert is listed after its end, ms. */
const keptMs = 90 * 86_400_000

/** Alerts of one device that are kept; of one that breaks a rule again and again, the newest ones. */
const maxOfDevice = 10_000

/** Events that wait for somebody who takes them. */
const maxEvents = 100_000

/** Alerts that one transaction forgets. */
const pruneSlice = 1000

const toDomainRule = (stored: StoredRule): Rule => ({
  ...stored,
  severity: stored.severity as Severity,
  target: JSON.parse(stored.target) as RuleTarget,
  condition: JSON.parse(stored.condition) as Condition,
})

const filterOf = ({ state, severity, deviceId, ruleId }: AlertQuery): AlertFilter => ({
  state: state ?? null,
  severity: severity ?? null,
  deviceId,
  ruleId: ruleId ?? null,
})

/** @throws {AppError} VALIDATION_FAILED */
const rowOf = ({ name, enabled, severity, target, condition }: NewRule): RuleRow => {
  const problem = conditionProblem(condition)
  if (problem !== undefined) {
    const path = `condition.${problem.path}`
    throw new AppError('VALIDATION_FAILED', `${path} ${problem.message}.`, {
      details: [{ path, message: problem.message }],
    })
  }
  const { holdMs, clearHoldMs } = holdsOf(condition)
  return {
    name,
    enabled,
    severity,
    kind: condition.kind,
    target: JSON.stringify(target),
    condition: JSON.stringify(condition),
    hold: BigInt(holdMs) * nsPerMs,
    clearHold: BigInt(clearHoldMs) * nsPerMs,
  }
}

/** All methods throw an {@link AppError} UNAVAILABLE when the database does not answer. */
export class Alerts {
  readonly #options: AlertsOptions
  readonly #now: () => number

  constructor(options: AlertsOptions) {
    this.#options = options
    options.database.learn(alertRequests)
    this.#now = options.now ?? Date.now
  }

  /** @throws {AppError} VALIDATION_FAILED for a condition that makes no sense; CONFLICT when there are {@link maxRules}. */
  async createRule(rule: NewRule): Promise<Rule> {
    const id = await this.#change('createAlertRule', { rule: rowOf(rule), at: this.#now(), most: maxRules })
    if (id === undefined) throw new AppError('CONFLICT', `There are ${maxRules} alert rules already.`)
    await this.#options.rulesChanged?.()
    return (await this.findRule(id)) as Rule
  }

  /**
   * Changes a rule. A change of the target, of the condition or of `enabled` clears its open alerts.
   * @returns undefined when there is no such rule. @throws {AppError} as {@link createRule}.
   */
  async updateRule(id: number, change: Partial<NewRule>): Promise<Rule | undefined> {
    const before = await this.findRule(id)
    if (before === undefined) return undefined
    const { name, enabled, severity, target, condition } = { ...before, ...change }
    const rule = rowOf({ name, enabled, severity, target, condition })
    const found = await this.#change('updateAlertRule', { id, rule, at: this.#now() })
    await this.#options.rulesChanged?.()
    return found ? this.findRule(id) : undefined
  }

  /** Clears its open alerts; its alerts stay. @returns whether there was such a rule. */
  async deleteRule(id: number): Promise<boolean> {
    const found = await this.#change('deleteAlertRule', { id, at: this.#now() })
    await this.#options.rulesChanged?.()
    return found
  }

  async findRule(id: number): Promise<Rule | undefined> {
    const [row] = await this.#query('alertRule', { id })
    return row && toDomainRule(toRule(row))
  }

  /** In order of their ids. @param options.after id of the last rule of the previous page. */
  async listRules({ limit, after = 0 }: { limit: number; after?: number | undefined }): Promise<{
    rules: Rule[]
    total: number
  }> {
    const [rows, [count]] = await Promise.all([
      this.#query('alertRules', { after, limit }),
      this.#query('countAlertRules', {}),
    ])
    return { rules: rows.map((row) => toDomainRule(toRule(row))), total: Number(count?.[0] ?? 0) }
  }

  /** All enabled rules of these kinds, for the sweep. */
  async rulesOf(kinds: readonly ConditionKind[]): Promise<Rule[]> {
    const rows = await this.#query('alertRules', { after: 0, limit: maxRules, kinds })
    return rows.map((row) => toDomainRule(toRule(row)))
  }

  /** Newest first. @param query.before id of the last alert of the previous page. */
  async list({
    limit,
    before,
    ...query
  }: AlertQuery & { limit: number; before?: number | undefined }): Promise<{
    alerts: Alert[]
    total: number
  }> {
    const filter = filterOf(query)
    const [rows, [count]] = await Promise.all([
      this.#query('alerts', { ...filter, before: before ?? null, limit }),
      this.#query('countAlerts', filter),
    ])
    return { alerts: rows.map((row) => toAlert(toStoredAlert(row))), total: Number(count?.[0] ?? 0) }
  }

  async find(id: number): Promise<{ alert: Alert; history: HistoryEntry[] } | undefined> {
    const [[row], notes] = await Promise.all([
      this.#query('alert', { id }),
      this.#query('alertNotes', { id }),
    ])
    if (row === undefined) return undefined
    const alert = toAlert(toStoredAlert(row))
    const told = notes.map(([at, text]) => ({ at: Number(at), text: String(text) }))
    return { alert, history: historyOf(alert, told) }
  }

  /** Alerts that are not cleared, by severity. */
  async counts(): Promise<Record<Severity, number>> {
    return (await this.totals()).open
  }

  /** The newest ones that nobody has acknowledged, newest first. */
  async newestOpen(limit: number, freshness?: Freshness): Promise<Alert[]> {
    const args = { ...filterOf({ state: 'open' }), before: null, limit }
    return (await this.#query('alerts', args, freshness)).map((row) => toAlert(toStoredAlert(row)))
  }

  /** Alerts that are not cleared, by severity, and how many were ever opened: that number never falls. */
  async totals(freshness?: Freshness): Promise<{ open: Record<Severity, number>; opened: number }> {
    const rows = await this.#query('alertTotals', {}, freshness)
    const found = new Map(rows.map(([severity, count]) => [severity, Number(count)]))
    const open = severities.map((one) => [one, found.get(one) ?? 0])
    return { open: Object.fromEntries(open) as Record<Severity, number>, opened: found.get(null) ?? 0 }
  }

  /** Acknowledging an alert again, or one that is cleared, changes nothing. @returns whether it is acknowledged by this call. */
  acknowledge(id: number, note?: string): Promise<boolean> {
    return this.#change('acknowledgeAlert', { id, note: note ?? null, at: this.#now() })
  }

  /** Adds to the history of an alert. @returns false when there is no such alert, or it has {@link maxNotes} notes. */
  note(id: number, text: string): Promise<boolean> {
    return this.#change('noteAlert', { id, text, at: this.#now(), most: maxNotes })
  }

  /** Judges what a sweep over the fleet has found. What changes nothing is not written. */
  async judge(samples: readonly TimedSample[]): Promise<void> {
    const rows = samples.map(
      ({ rule, deviceId, at, verdict, value }): SampleRow => ({
        rule: rule.id,
        revision: rule.revision,
        deviceId,
        ts: BigInt(at) * nsPerMs,
        verdict,
        value,
      }),
    )
    for (let from = 0; from < rows.length; from += samplesAtOnce)
      await this.#change('judgeSamples', { samples: rows.slice(from, from + samplesAtOnce) })
  }

  /**
   * Opens and clears alerts whose durations have passed without a further reading. To call every few seconds.
   * @param now ms since the epoch: a few seconds ago, so that readings on their way come first.
   */
  tick(now: number): Promise<void> {
    return this.#change('tickAlerts', { now: BigInt(now) * nsPerMs })
  }

  /** Clears the open alerts of devices, and forgets what was pending. */
  async clearOf(deviceIds: readonly number[], reason: ClearReason): Promise<void> {
    if (deviceIds.length === 0) return
    await this.#change('clearAlerts', { deviceIds, reason, now: BigInt(this.#now()) * nsPerMs })
  }

  /**
   * Devices with an alert that is open, or that may open by the time alone: those that are gone or in maintenance meanwhile are to
   * be cleared. In order of their ids, behind `after`.
   */
  async alertedDevices(limit: number, after = 0): Promise<number[]> {
    return (await this.#query('alertedDevices', { after, limit })).map(([id]) => Number(id))
  }

  /** The oldest events that are not deleted yet. They survive a power cut, and so do their transitions. */
  async events(limit: number): Promise<AlertEvent[]> {
    const rows = await this.#query('alertEvents', { limit })
    if (rows.length === 0) return []
    // A fold of the journal does not wait for the disk: nobody is told what a power cut may undo.
    await this.#change('check', { write: true })
    return rows.map(([seq, transition, ...alert]) =>
      eventOf(Number(seq), transition as Transition, toAlert(toStoredAlert(alert))),
    )
  }

  /** Deletes events that are kept elsewhere. */
  async deleteEvents(seqs: readonly number[]): Promise<void> {
    if (seqs.length > 0) await this.#change('deleteAlertEvents', { seqs })
  }

  /**
   * Forgets alerts that were cleared 90 days ago, those before the newest 10,000 of a device, and old counts of warnings and dead
   * letters.
   * @param until by performance.now(). @returns whether all are forgotten.
   */
  async prune(until: number): Promise<boolean> {
    const repeat = async (some: () => Promise<boolean>) => {
      while (performance.now() < until) if (!(await some())) return true
      return false
    }
    const before = BigInt(this.#now() - keptMs) * nsPerMs
    const done = [
      await repeat(() => this.#change('pruneAlerts', { before, events: maxEvents, most: pruneSlice })),
    ]
    for (const [deviceId] of await this.#query('crowdedDevices', { most: maxOfDevice })) {
      const args = { deviceId: Number(deviceId), kept: maxOfDevice, most: pruneSlice }
      done.push(await repeat(() => this.#change('pruneAlertsOf', args)))
    }
    for (const kind of ['warnings', 'dead_letters'] as const) {
      const args = { kind, before: this.#now() - (await this.#longestWindow(kind)), most: pruneSlice }
      done.push(await repeat(() => this.#change('pruneAlertCounts', args)))
    }
    return done.every(Boolean)
  }

  /** How long counts are kept for the rules that there are, ms: an hour more than they ask for. */
  async #longestWindow(kind: 'warnings' | 'dead_letters'): Promise<number> {
    let longest = 0
    for (const { condition } of await this.rulesOf([kind]))
      if (condition.kind === kind) longest = Math.max(longest, durationMs(condition.within) ?? 0)
    return longest + 3_600_000
  }

  get #query() {
    return this.#options.database.query.bind(this.#options.database)
  }

  get #change() {
    return this.#options.database.writer.change.bind(this.#options.database.writer)
  }
}

export type { StoredAlert }
