/** SQL of alert rules. A change of what is judged clears the open alerts of the rule in the same transaction. */
import { clearAlertsOfRule, foldAll } from './alert-states.ts'
import type { NoArgs, Row, SqlValue, Statement } from './connection.ts'
import type { DatabaseSession } from './session.ts'

/** A rule as it stands in the table. */
export interface RuleRow {
  readonly name: string
  readonly enabled: boolean
  readonly severity: string
  readonly kind: string
  /** JSON. */
  readonly target: string
  /** JSON. */
  readonly condition: string
  /** Nanoseconds. */
  readonly hold: bigint
  readonly clearHold: bigint
}

const columns =
  'id, revision, enabled, severity, name, target, condition, created_at_ms, updated_at_ms, (SELECT count(*) FROM alerts WHERE rule_id = r.id AND cleared_at IS NULL)'

const judgedValuesOf = ({ enabled, target, condition }: RuleRow): Record<string, SqlValue> => ({
  enabled: enabled ? 1 : 0,
  target,
  condition,
})

const valuesOf = (rule: RuleRow, at: number): Record<string, SqlValue> => ({
  ...judgedValuesOf(rule),
  name: rule.name,
  severity: rule.severity,
  kind: rule.kind,
  hold: rule.hold,
  clearHold: rule.clearHold,
  at,
})

/** Comes before each change of a rule. */
const raiseVersion: Statement = { sql: 'UPDATE alert_rules_version SET version = version + 1' }
const version = '(SELECT version FROM alert_rules_version)'

/** @param at ms since the epoch. @returns its id; undefined when there are as many rules as there may be. */
export async function createRule(
  session: DatabaseSession,
  { rule, at, most }: { rule: RuleRow; at: number; most: number },
): Promise<number | undefined> {
  // Warnings that came before the first rule about them do not count.
  foldAll(session)
  let id: number | undefined
  await session.write(() => [
    raiseVersion,
    {
      sql: `INSERT INTO alert_rules (revision, version, enabled, hold, clear_hold, kind, severity, name, target, condition, created_at_ms, updated_at_ms)
        SELECT 1, ${version}, :enabled, :hold, :clearHold, :kind, :severity, :name, :target, :condition, :at, :at
        WHERE (SELECT count(*) FROM alert_rules) < :most RETURNING id`,
      args: { ...valuesOf(rule, at), most },
      committed: ([row]) => {
        id = row === undefined ? undefined : Number(row[0])
      },
    },
  ])
  return id
}

const judgesOtherwise = `(enabled, target, condition) IS NOT (:enabled, :target, :condition)`

/**
 * Changes a rule. Readings that came before are judged by the rule as it was.
 * @param at ms since the epoch. @returns whether there is such a rule.
 */
export async function updateRule(
  session: DatabaseSession,
  { id, rule, at }: { id: number; rule: RuleRow; at: number },
): Promise<boolean> {
  foldAll(session)
  session.steady.forgetAll()
  let found = false
  const clear = clearAlertsOfRule(id, 'rule_changed', BigInt(at) * 1_000_000n)
  const values = { ...valuesOf(rule, at), id }
  await session.write(() => [
    raiseVersion,
    {
      sql: `${clear.sql} AND EXISTS (SELECT 1 FROM alert_rules WHERE id = :id AND ${judgesOtherwise})`,
      args: { ...clear.args, id, ...judgedValuesOf(rule) },
    },
    {
      sql: `UPDATE alert_rules SET revision = revision + (${judgesOtherwise}), version = ${version}, name = :name, enabled = :enabled,
          severity = :severity, kind = :kind, target = :target, condition = :condition, hold = :hold,
          clear_hold = :clearHold, updated_at_ms = :at
        WHERE id = :id RETURNING id`,
      args: values,
      committed: (rows) => {
        found = rows.length > 0
      },
    },
  ])
  return found
}

/** @param at ms since the epoch. @returns whether there was such a rule. */
export async function deleteRule(
  session: DatabaseSession,
  { id, at }: { id: number; at: number },
): Promise<boolean> {
  foldAll(session)
  session.steady.forgetAll()
  let found = false
  await session.write(() => [
    raiseVersion,
    clearAlertsOfRule(id, 'rule_deleted', BigInt(at) * 1_000_000n),
    { sql: `INSERT INTO alert_rules_gone (version, id) VALUES (${version}, ?)`, args: [id] },
    {
      sql: 'DELETE FROM alert_rules WHERE id = ? RETURNING id',
      args: [id],
      committed: (rows) => {
        found = rows.length > 0
      },
    },
  ])
  return found
}

export const ruleQueries = {
  alertRule: ({ id }: { id: number }): Statement => ({
    sql: `SELECT ${columns} FROM alert_rules AS r WHERE id = ?`,
    args: [id],
  }),
  /** In order of their ids, behind `after`. @param kinds only these that are enabled; null for all. */
  alertRules: ({
    after,
    limit,
    kinds = null,
  }: {
    after: number
    limit: number
    kinds?: readonly string[] | null
  }): Statement => ({
    sql: `SELECT ${columns} FROM alert_rules AS r
      WHERE id > ?1 AND (?3 IS NULL OR (enabled AND kind IN (SELECT value FROM json_each(?3)))) ORDER BY id LIMIT ?2`,
    args: [after, limit, kinds === null ? null : JSON.stringify(kinds)],
  }),
  countAlertRules: (_args: NoArgs): Statement => ({ sql: 'SELECT count(*) FROM alert_rules' }),
  /**
   * What has changed behind a version among the rules that judge readings: rows of the version of all rules now, the id of a rule,
   * and what it judges; nulls where it judges nothing any more. One row with nulls where nothing has changed.
   */
  judgingRules: ({ version }: { version: number }): Statement => ({
    sql: `SELECT v.version, c.id, c.revision, c.target, c.condition FROM alert_rules_version AS v LEFT JOIN (
        SELECT id, revision, iif(judges, target, NULL) AS target, iif(judges, condition, NULL) AS condition
        FROM (SELECT *, enabled AND kind = 'threshold' AS judges FROM alert_rules WHERE version > ?1)
        WHERE judges OR ?1 >= 0
        UNION ALL SELECT id, NULL, NULL, NULL FROM alert_rules_gone WHERE version > ?1 AND ?1 >= 0) AS c`,
    args: [version],
  }),
}

/** A row of `alertRule` and `alertRules`. */
export interface StoredRule {
  readonly id: number
  readonly revision: number
  readonly enabled: boolean
  readonly severity: string
  readonly name: string
  /** JSON. */
  readonly target: string
  /** JSON. */
  readonly condition: string
  /** Milliseconds since the epoch. */
  readonly createdAt: number
  readonly updatedAt: number
  readonly openAlerts: number
}

export const toRule = (row: Row): StoredRule => {
  const [id, revision, enabled, severity, name, target, condition, createdAt, updatedAt, openAlerts] = row
  return {
    id: Number(id),
    revision: Number(revision),
    enabled: Number(enabled) === 1,
    severity: String(severity),
    name: String(name),
    target: String(target),
    condition: String(condition),
    createdAt: Number(createdAt),
    updatedAt: Number(updatedAt),
    openAlerts: Number(openAlerts),
  }
}
