/** Alert rules and their alerts in plain TypeScript, one step after the other: what the SQL has to agree with. */

/** Breaks above `above`; back at `back` or below. */
export interface ModelRule {
  readonly field: string
  readonly above: number
  readonly back: number
  /** Seconds. */
  readonly forS: number
  readonly clearForS: number
  readonly enabled: boolean
  /** Undefined for all. */
  readonly device: number | undefined
}

export interface ModelAlert {
  readonly rule: number
  readonly revision: number
  readonly device: number
  readonly openedAt: bigint
  readonly openedValue: number
  lastValue: number | null
  clearedAt: bigint | null
  reason: string | null
}

/** A phase of a rule at a device. */
type Phase = 'ok' | 'pending' | 'open' | 'clearing'

interface State {
  phase: Phase
  since: bigint
  sinceValue: number
  ts: bigint
  value: number
  alert: ModelAlert | undefined
}

const seconds = (count: number) => BigInt(count) * 1_000_000_000n
const later = (one: bigint, other: bigint) => (one > other ? one : other)

export class AlertModel {
  readonly rules = new Map<number, { rule: ModelRule; revision: number }>()
  readonly alerts: ModelAlert[] = []
  /** Ids of the events, one for each transition. */
  readonly events: string[] = []
  readonly #states = new Map<string, State>()

  setRule(id: number, rule: ModelRule, now: bigint): void {
    const before = this.rules.get(id)
    if (before !== undefined) this.#clearOpen((alert) => alert.rule === id, 'rule_changed', now)
    this.rules.set(id, { rule, revision: (before?.revision ?? 0) + 1 })
    this.#forget((key) => key.endsWith(` ${id}`))
  }

  deleteRule(id: number, now: bigint): void {
    this.#clearOpen((alert) => alert.rule === id, 'rule_deleted', now)
    this.rules.delete(id)
    this.#forget((key) => key.endsWith(` ${id}`))
  }

  /** Readings of one message, judged in the order of their times. */
  message(device: number, readings: readonly { ts: bigint; fields: Record<string, number> }[]): void {
    const inOrder = [...readings].sort((one, other) => (one.ts < other.ts ? -1 : one.ts > other.ts ? 1 : 0))
    for (const { ts, fields } of inOrder)
      for (const [id, { rule }] of this.rules) {
        const value = fields[rule.field]
        const isOfDevice = rule.device === undefined || rule.device === device
        if (rule.enabled && isOfDevice && value !== undefined) this.#sample(id, device, ts, value)
      }
  }

  tick(now: bigint): void {
    for (const [key, state] of this.#states) {
      const [device, id] = key.split(' ').map(Number) as [number, number]
      if (this.rules.get(id)?.rule.enabled) this.#pass(id, device, state, now)
    }
  }

  clearOf(device: number, reason: string, now: bigint): void {
    this.#clearOpen((alert) => alert.device === device, reason, now)
    for (const [key, state] of this.#states) {
      if (!key.startsWith(`${device} `)) continue
      state.phase = 'ok'
      state.alert = undefined
    }
  }

  #sample(id: number, device: number, ts: bigint, value: number): void {
    const { rule } = this.rules.get(id) as { rule: ModelRule }
    const key = `${device} ${id}`
    const state = this.#states.get(key) ?? {
      phase: 'ok',
      since: 0n,
      sinceValue: 0,
      ts: -1n,
      value: 0,
      alert: undefined,
    }
    this.#states.set(key, state)
    if (ts <= state.ts) return
    this.#pass(id, device, state, ts)
    const [breaks, isBack] = [value > rule.above, value <= rule.back]
    state.ts = ts
    state.value = value
    if (state.phase === 'ok' && breaks) {
      this.#enter(state, 'pending', ts, value)
      if (rule.forS === 0) this.#open(id, device, state)
    } else if (state.phase === 'pending' && !breaks) state.phase = 'ok'
    else if (state.phase === 'clearing' && !isBack) state.phase = 'open'
    else if (state.phase === 'open' && isBack) {
      this.#enter(state, 'clearing', ts, value)
      if (rule.clearForS === 0) this.#clear(state)
    }
  }

  /** What the time alone does until `now`. */
  #pass(id: number, device: number, state: State, now: bigint): void {
    const { rule } = this.rules.get(id) as { rule: ModelRule }
    if (state.phase === 'pending' && now - state.since >= seconds(rule.forS)) this.#open(id, device, state)
    else if (state.phase === 'clearing' && now - state.since >= seconds(rule.clearForS))
      this.#clear(state, seconds(rule.clearForS))
  }

  #enter(state: State, phase: Phase, since: bigint, value: number): void {
    state.phase = phase
    state.since = since
    state.sinceValue = value
  }

  #open(id: number, device: number, state: State): void {
    const { rule, revision } = this.rules.get(id) as { rule: ModelRule; revision: number }
    state.phase = 'open'
    state.alert = {
      rule: id,
      revision,
      device,
      openedAt: state.since + seconds(rule.forS),
      openedValue: state.sinceValue,
      lastValue: null,
      clearedAt: null,
      reason: null,
    }
    this.alerts.push(state.alert)
    this.#tell(state.alert, 'opened')
  }

  #clear(state: State, after = 0n): void {
    const alert = state.alert as ModelAlert
    alert.clearedAt = later(alert.openedAt, state.since + after)
    alert.reason = 'condition'
    alert.lastValue = state.sinceValue
    state.phase = 'ok'
    state.alert = undefined
    this.#tell(alert, 'cleared')
  }

  #clearOpen(which: (alert: ModelAlert) => boolean, reason: string, now: bigint): void {
    for (const alert of this.alerts.filter((one) => one.clearedAt === null && which(one))) {
      const state = this.#states.get(`${alert.device} ${alert.rule}`)
      alert.clearedAt = later(alert.openedAt, now)
      alert.reason = reason
      alert.lastValue = state?.value ?? null
      this.#tell(alert, 'cleared')
    }
  }

  #forget(which: (key: string) => boolean): void {
    for (const key of this.#states.keys()) if (which(key)) this.#states.delete(key)
  }

  #tell({ rule, revision, device, openedAt }: ModelAlert, transition: string): void {
    this.events.push(`alert-${rule}-${revision}-${device}-${openedAt}-${transition}`)
  }

  /** As the list of alerts has them: the newest value of those that are open. */
  seen(): string[] {
    return this.alerts
      .map((alert) => {
        const value = this.#states.get(`${alert.device} ${alert.rule}`)?.value ?? null
        const { lastValue, ...others } = alert
        return shown({ ...others, lastValue: alert.clearedAt === null ? value : lastValue })
      })
      .sort()
  }
}

export const shown = (alert: ModelAlert): string =>
  [
    `rule ${alert.rule}.${alert.revision} device ${alert.device}`,
    `opened ${alert.openedAt} by ${alert.openedValue}, last ${alert.lastValue}`,
    alert.clearedAt === null ? 'open' : `cleared ${alert.clearedAt} ${alert.reason}`,
  ].join(', ')
