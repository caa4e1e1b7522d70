/** Alerts, and their form in answers and in events. */
import { formatMillis } from '../iso-time.ts'
import type { StoredAlert } from '../telemetry/embedded/alert-queries.ts'
import type { ClearReason } from '../telemetry/embedded/alert-states.ts'
import { formatTime } from '../telemetry/time.ts'
import type { Condition, ConditionKind, Severity } from './rule.ts'

export type { ClearReason }

export type AlertState = 'open' | 'acknowledged' | 'cleared'
export const alertStates = ['open', 'acknowledged', 'cleared'] as const

/** A rule that a device breaks, or has broken. A device has at most one alert of a rule that is not cleared. */
export interface Alert extends Omit<StoredAlert, 'severity' | 'kind' | 'condition'> {
  readonly state: AlertState
  readonly severity: Severity
  readonly kind: ConditionKind
  readonly condition: Condition
}

export const toAlert = (stored: StoredAlert): Alert => ({
  ...stored,
  state: stored.clearedAt !== null ? 'cleared' : stored.acknowledgedAt !== null ? 'acknowledged' : 'open',
  severity: stored.severity as Severity,
  kind: stored.kind as ConditionKind,
  condition: JSON.parse(stored.condition) as Condition,
})

const timeOrNull = (time: bigint | null) => (time === null ? null : formatTime(time))

/** An alert as answers show it. @param deviceName null for a device that is gone. */
export const alertView = (alert: Alert, deviceName: string | null) => ({
  id: alert.id,
  rule_id: alert.ruleId,
  rule_name: alert.ruleName,
  severity: alert.severity,
  device_id: alert.deviceId,
  device_name: deviceName,
  state: alert.state,
  kind: alert.kind,
  condition: alert.condition,
  opened_at: formatTime(alert.openedAt),
  opened_value: alert.openedValue,
  last_value: alert.lastValue,
  last_at: timeOrNull(alert.lastAt),
  cleared_at: timeOrNull(alert.clearedAt),
  clear_reason: alert.clearReason,
  acknowledged_at: alert.acknowledgedAt === null ? null : formatMillis(alert.acknowledgedAt),
  acknowledged_note: alert.acknowledgedNote,
})

export interface HistoryEntry {
  /** Nanoseconds since the epoch. */
  readonly at: bigint
  readonly kind: 'opened' | 'acknowledged' | 'note' | 'cleared'
  readonly text: string | null
}

export const historyView = ({ at, kind, text }: HistoryEntry) => ({ at: formatTime(at), kind, text })

const nsPerMs = 1_000_000n

/** What happened to an alert, in the order of time. */
export function historyOf(
  { openedAt, acknowledgedAt, acknowledgedNote, clearedAt, clearReason }: Alert,
  notes: readonly { readonly at: number; readonly text: string }[],
): HistoryEntry[] {
  const entries: HistoryEntry[] = [
    { at: openedAt, kind: 'opened', text: null },
    ...notes.map(({ at, text }): HistoryEntry => ({ at: BigInt(at) * nsPerMs, kind: 'note', text })),
  ]
  if (acknowledgedAt !== null)
    entries.push({ at: BigInt(acknowledgedAt) * nsPerMs, kind: 'acknowledged', text: acknowledgedNote })
  if (clearedAt !== null) entries.push({ at: clearedAt, kind: 'cleared', text: clearReason })
  return entries.sort((one, other) => (one.at < other.at ? -1 : one.at > other.at ? 1 : 0))
}

export type Transition = 'opened' | 'acknowledged' | 'cleared'

/** What others are to be told of an alert, once for each of its transitions. */
export interface AlertEvent {
  /** Its place in the outbox. */
  readonly seq: number
  /** The same for the same transition, also where a power cut makes it happen again. */
  readonly id: string
  readonly type: `alert.${Transition}`
  readonly deviceId: number
  /** Milliseconds since the epoch. */
  readonly at: number
  /** Of the message, without the name of the device. */
  readonly data: Readonly<Record<string, unknown>>
}

/** The facts that stand when a transition has happened: later ones do not change an event. */
const dataOf = (alert: Alert, transition: Transition) => {
  const view = alertView(alert, null)
  const { id, rule_id, rule_name, severity, device_id, kind, condition, opened_at, opened_value } = view
  const { cleared_at, clear_reason, last_value, acknowledged_at, acknowledged_note } = view
  return {
    alert_id: id,
    rule_id,
    rule_name,
    severity,
    device_id,
    kind,
    condition,
    opened_at,
    opened_value,
    ...(transition === 'acknowledged' && { acknowledged_at, acknowledged_note }),
    ...(transition === 'cleared' && { cleared_at, clear_reason, last_value }),
  }
}

export function eventOf(seq: number, transition: Transition, alert: Alert): AlertEvent {
  const { ruleId, revision, deviceId, openedAt, clearedAt, acknowledgedAt } = alert
  const at =
    transition === 'acknowledged'
      ? (acknowledgedAt ?? 0)
      : Number((transition === 'cleared' ? (clearedAt ?? openedAt) : openedAt) / nsPerMs)
  return {
    seq,
    // A rule opens no two alerts of a device with one time.
    id: `alert-${ruleId}-${revision}-${deviceId}-${openedAt}-${transition}`,
    type: `alert.${transition}`,
    deviceId,
    at,
    data: dataOf(alert, transition),
  }
}
