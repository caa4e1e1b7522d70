/** SQL of the facts about some devices from which a sweep judges rules. Devices are a JSON list of their ids. */
import { alertStates } from './alert-state.ts'
import type { NoArgs, Query } from './connection.ts'

const { pending, clearing } = alertStates
const isAsked = 'device_id IN (SELECT value FROM json_each(?1))'
const isTimed = `state IN (${pending}, ${clearing})`

/** A rule at a device of which a sweep has news. */
export interface AlertPair {
  readonly rule: number
  readonly device: number
}

/** The last pair of the page before, and the bounds of the next one. */
interface PairPlace extends AlertPair {
  /** The last device. */
  readonly last: number
  readonly limit: number
}

export const alertFactQueries = {
  /** The enabled rules that a sweep judges, behind their version: that alone when it is `version`. */
  timedRules: ({ version }: { version: number }): Query => ({
    sql: `SELECT v.version, r.id, r.revision, r.target, r.condition, r.updated_at_ms FROM alert_rules_version AS v
      LEFT JOIN alert_rules AS r ON r.enabled AND r.kind <> 'threshold' AND v.version <> ? ORDER BY r.id`,
    args: [version],
  }),
  /** When the last reading of each device came, ms since the epoch. */
  deviceArrivals: ({ devices }: { devices: string }): Query => ({
    sql: `SELECT device_id, last_at FROM accounting WHERE ${isAsked}`,
    args: [devices],
  }),
  /** Warnings or dead letters of each device since a time, ms since the epoch. */
  deviceCounts: ({ devices, kind, since }: { devices: string; kind: string; since: number }): Query => ({
    sql: `SELECT device_id, sum(count) FROM alert_counts
      WHERE ${isAsked} AND kind = ?2 AND at_ms > ?3 GROUP BY device_id`,
    args: [devices, kind, since],
  }),
  /** The pairs of a device and a rule of which a sweep has said that the condition holds. */
  breachedPairs: ({ devices }: { devices: string }): Query => ({
    sql: `SELECT device_id, rule_id FROM alert_states AS s
      JOIN alert_rules AS r ON r.id = rule_id AND r.revision = s.revision AND r.kind <> 'threshold'
      WHERE ${isAsked} AND verdict = 1`,
    args: [devices],
  }),
  /**
   * For each pair, in their order, a time before which nothing new can be said of it, ns since the epoch. The plus keeps SQLite from
   * walking through all alerts of the rule.
   */
  judgedUntil: ({ pairs }: { pairs: readonly AlertPair[] }): Query => ({
    sql: `SELECT max(
        coalesce((SELECT ts + 1 FROM alert_states
          WHERE device_id = p.value ->> 'device' AND rule_id = p.value ->> 'rule'), 0),
        coalesce((SELECT max(cleared_at) FROM alerts
          WHERE device_id = p.value ->> 'device' AND +rule_id = p.value ->> 'rule'), 0))
      FROM json_each(?) AS p ORDER BY p.key`,
    args: [JSON.stringify(pairs)],
  }),
  /**
   * Pairs of a device up to `last` and a rule with an open alert, and the target of the rule: the next ones behind a pair.
   */
  openPairs: ({ device, rule, last, limit }: PairPlace): Query => ({
    sql: `SELECT a.device_id, a.rule_id, target FROM alerts AS a INDEXED BY alerts_open
      JOIN alert_rules AS r ON r.id = a.rule_id
      WHERE cleared_at IS NULL AND (a.device_id, a.rule_id) > (?, ?) AND a.device_id <= ?
      ORDER BY a.device_id, a.rule_id LIMIT ?`,
    args: [device, rule, last, limit],
  }),
  /** As `openPairs`, of alerts that open by the time alone until `due`, ns since the epoch. */
  pendingPairs: ({ device, rule, last, limit, due }: PairPlace & { readonly due: bigint }): Query => ({
    sql: `SELECT s.device_id, s.rule_id, target FROM alert_states AS s JOIN alert_rules AS r ON r.id = s.rule_id
      WHERE ${isTimed} AND state = ${pending} AND (s.device_id, s.rule_id) > (?, ?) AND s.device_id <= ?
        AND since + s.hold <= ? ORDER BY s.device_id, s.rule_id LIMIT ?`,
    args: [device, rule, last, due, limit],
  }),
  /** The ids of open alerts behind `after`, in their order, with what `openPairs` tells of each. */
  newestPairs: ({ after, limit }: { after: number; limit: number }): Query => ({
    sql: `SELECT a.id, a.device_id, a.rule_id, target FROM alerts AS a INDEXED BY alerts_open_newest
      JOIN alert_rules AS r ON r.id = a.rule_id WHERE cleared_at IS NULL AND a.id > ? ORDER BY a.id LIMIT ?`,
    args: [after, limit],
  }),
  countOpenAlerts: (_args: NoArgs): Query => ({
    sql: 'SELECT count(*) FROM alerts INDEXED BY alerts_open_newest WHERE cleared_at IS NULL',
  }),
  /** Devices whose last reading came in one of these spans of ms: after their first number, until the second one. */
  arrivedWithin: ({ spans }: { spans: readonly (readonly [number, number])[] }): Query => ({
    // The bounds of all come first: most rows need no more.
    sql: `SELECT device_id FROM accounting WHERE last_at > ? AND last_at <= ?
      AND (${spans.map(() => 'last_at > ? AND last_at <= ?').join(' OR ')})`,
    args: [Math.min(...spans.map(([from]) => from)), Math.max(...spans.map(([, to]) => to)), ...spans.flat()],
  }),
  /**
   * Pairs with an open alert that may have ended, behind a pair, with the last arrival: of silence where a reading came after
   * `arrived`, ms since the epoch; of counts all.
   */
  endingPairs: ({ device, rule, arrived, limit }: AlertPair & { arrived: number; limit: number }): Query => ({
    sql: `SELECT a.device_id, a.rule_id, coalesce(c.last_at, 0) FROM alerts AS a INDEXED BY alerts_open
      LEFT JOIN accounting AS c ON c.device_id = a.device_id
      WHERE cleared_at IS NULL AND (a.device_id, a.rule_id) > (?, ?)
        AND (a.kind IN ('warnings', 'dead_letters') OR (a.kind = 'no_data' AND c.last_at > ?))
      ORDER BY a.device_id, a.rule_id LIMIT ?`,
    args: [device, rule, arrived, limit],
  }),
  /** Devices with so many warnings or dead letters since a time, ms since the epoch. */
  devicesCounted: ({ kind, since, least }: { kind: string; since: number; least: number }): Query => ({
    sql: `SELECT device_id FROM alert_counts WHERE kind = ? AND at_ms > ? GROUP BY device_id HAVING sum(count) >= ?`,
    args: [kind, since, least],
  }),
  /** A row when a state is over by the time alone. @param now ns since the epoch. */
  dueState: ({ now }: { now: bigint }): Query => ({
    sql: `SELECT 1 FROM alert_states WHERE ${isTimed} AND since + iif(state = ${pending}, hold, clear_hold) <= ? LIMIT 1`,
    args: [now],
  }),
}
