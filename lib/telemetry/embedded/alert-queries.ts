/** SQL of alerts: lists, counts, notes, and the outbox of what others are to be told. */
import type { FieldValue } from '../reading.ts'
import {
  type ClearReason,
  clearAlertsOfDevices,
  foldAll,
  judgeTimedSamples,
  type SampleRow,
  tickStates,
} from './alert-states.ts'
import type { NoArgs, Row, Statement } from './connection.ts'
import type { DatabaseSession } from './session.ts'

/** An alert as it stands in the tables. Times are ns since the epoch, except where they say otherwise. */
export interface StoredAlert {
  readonly id: number
  readonly ruleId: number
  readonly revision: number
  readonly deviceId: number
  readonly ruleName: string
  readonly severity: string
  readonly kind: string
  /** JSON, as it was when the alert was opened. */
  readonly condition: string
  readonly openedAt: bigint
  /** The first one that broke the rule. */
  readonly openedValue: FieldValue | null
  /** Of the newest sample; of a cleared alert, of the first one that let it end. */
  readonly lastAt: bigint | null
  readonly lastValue: FieldValue | null
  readonly clearedAt: bigint | null
  readonly clearReason: ClearReason | null
  /** Milliseconds since the epoch. */
  readonly acknowledgedAt: number | null
  readonly acknowledgedNote: string | null
}

const columns = `a.id, a.rule_id, a.revision, a.device_id, a.rule_name, a.severity, a.kind, a.condition, a.opened_at,
  a.opened_value, iif(a.cleared_at IS NULL, s.ts, a.last_at), iif(a.cleared_at IS NULL, s.value, a.last_value),
  a.cleared_at, a.clear_reason, a.acknowledged_at_ms, a.acknowledged_note`
const withStates = `LEFT JOIN alert_states AS s
  ON s.device_id = a.device_id AND s.rule_id = a.rule_id AND s.revision = a.revision`
const source = `alerts AS a ${withStates}`

const parseValue = (json: unknown): FieldValue | null =>
  json === null ? null : (JSON.parse(String(json)) as FieldValue)

export const toAlert = (row: Row): StoredAlert => ({
  id: Number(row[0]),
  ruleId: Number(row[1]),
  revision: Number(row[2]),
  deviceId: Number(row[3]),
  ruleName: String(row[4]),
  severity: String(row[5]),
  kind: String(row[6]),
  condition: String(row[7]),
  openedAt: row[8] as bigint,
  openedValue: parseValue(row[9]),
  lastAt: row[10] as bigint | null,
  lastValue: parseValue(row[11]),
  clearedAt: row[12] as bigint | null,
  clearReason: row[13] as ClearReason | null,
  acknowledgedAt: row[14] === null ? null : Number(row[14]),
  acknowledgedNote: row[15] as string | null,
})

/** What a list of alerts is narrowed to; null for all. */
export interface AlertFilter {
  readonly state: 'open' | 'acknowledged' | 'cleared' | null
  readonly severity: string | null
  readonly deviceId: number | undefined
  readonly ruleId: number | null
}

const stateCondition = {
  open: 'a.cleared_at IS NULL AND a.acknowledged_at_ms IS NULL',
  acknowledged: 'a.cleared_at IS NULL AND a.acknowledged_at_ms IS NOT NULL',
  cleared: 'a.cleared_at IS NOT NULL',
}

const filtered = ({ state, severity, deviceId, ruleId }: AlertFilter) => {
  const conditions = [
    ...(state === null ? [] : [stateCondition[state]]),
    ...(severity === null ? [] : ['a.severity = :severity']),
    ...(deviceId === undefined ? [] : ['a.device_id = :deviceId']),
    ...(ruleId === null ? [] : ['a.rule_id = :ruleId']),
  ]
  const isOpen = state === 'open' || state === 'acknowledged'
  const hasIndex = deviceId !== undefined || ruleId !== null
  return {
    // Without this, SQLite looks for the few open alerts among all that were ever cleared.
    from: `alerts AS a${isOpen && !hasIndex ? ' INDEXED BY alerts_open_newest' : ''}`,
    where: conditions.length === 0 ? 'true' : conditions.join(' AND '),
    args: {
      ...(severity !== null && { severity }),
      ...(deviceId !== undefined && { deviceId }),
      ...(ruleId !== null && { ruleId }),
    },
  }
}

export const alertQueries = {
  /** Newest first, those with an id below `before`. */
  alerts: ({
    before,
    limit,
    ...filter
  }: AlertFilter & { before: number | null; limit: number }): Statement => {
    const { from, where, args } = filtered(filter)
    return {
      sql: `SELECT ${columns} FROM ${from} ${withStates} WHERE ${where} AND (:before IS NULL OR a.id < :before)
        ORDER BY a.id DESC LIMIT :limit`,
      args: { ...args, before, limit },
    }
  },
  countAlerts: (filter: AlertFilter): Statement => {
    const { from, where, args } = filtered(filter)
    return { sql: `SELECT count(*) FROM ${from} WHERE ${where}`, args }
  },
  alert: ({ id }: { id: number }): Statement => ({
    sql: `SELECT ${columns} FROM ${source} WHERE a.id = ?`,
    args: [id],
  }),
  alertNotes: ({ id }: { id: number }): Statement => ({
    sql: 'SELECT at_ms, text FROM alert_notes WHERE alert_id = ? ORDER BY id',
    args: [id],
  }),
  /** Alerts that are not cleared, by severity, acknowledged or not; with null how many were ever opened, at the same time. */
  alertTotals: (_args: NoArgs): Statement => ({
    sql: `SELECT severity, count(*) FROM alerts WHERE cleared_at IS NULL GROUP BY severity
      UNION ALL SELECT NULL, seq FROM sqlite_sequence WHERE name = 'alerts'`,
  }),
  /** Devices of which an alert is open, or may open by the time alone, behind `after`. */
  alertedDevices: ({ after, limit }: { after: number; limit: number }): Statement => ({
    sql: `SELECT device_id FROM (
        SELECT device_id FROM alerts WHERE cleared_at IS NULL AND device_id > ?1
        UNION SELECT device_id FROM alert_states WHERE state IN (1, 3) AND device_id > ?1)
      ORDER BY device_id LIMIT ?2`,
    args: [after, limit],
  }),
  /** Alerts that were ever opened: a row, or none before the first one. */
  openedAlerts: (_args: NoArgs): Statement => ({
    sql: "SELECT seq FROM sqlite_sequence WHERE name = 'alerts'",
  }),
  /** The oldest rows of the outbox. */
  alertEvents: ({ limit }: { limit: number }): Statement => ({
    sql: `SELECT e.seq, e.transition, ${columns} FROM alert_events AS e CROSS JOIN alerts AS a ON a.id = e.alert_id
      LEFT JOIN alert_states AS s ON s.device_id = a.device_id AND s.rule_id = a.rule_id AND s.revision = a.revision
      ORDER BY e.seq LIMIT ?`,
    args: [limit],
  }),
}

export const alertChanges = {
  /** @returns whether there is an open alert with this id. */
  acknowledgeAlert: async (
    session: DatabaseSession,
    { id, note, at }: { id: number; note: string | null; at: number },
  ): Promise<boolean> => {
    // A reading that waits in the journal may have cleared it.
    foldAll(session)
    let found = false
    await session.write(() => [
      {
        sql: `UPDATE alerts SET acknowledged_at_ms = ?, acknowledged_note = ?
          WHERE id = ? AND acknowledged_at_ms IS NULL AND cleared_at IS NULL RETURNING id`,
        args: [at, note, id],
        committed: (rows) => {
          found = rows.length > 0
        },
      },
    ])
    return found
  },
  /** @returns whether there is such an alert with less than `most` notes. */
  noteAlert: async (
    session: DatabaseSession,
    { id, text, at, most }: { id: number; text: string; at: number; most: number },
  ): Promise<boolean> => {
    let isAdded = false
    await session.write(() => [
      {
        sql: `INSERT INTO alert_notes (alert_id, at_ms, text) SELECT id, ?2, ?3 FROM alerts
          WHERE id = ?1 AND (SELECT count(*) FROM alert_notes WHERE alert_id = ?1) < ?4 RETURNING id`,
        args: [id, at, text, most],
        committed: (rows) => {
          isAdded = rows.length > 0
        },
      },
    ])
    return isAdded
  },
  judgeSamples: (session: DatabaseSession, { samples }: { samples: readonly SampleRow[] }): Promise<void> => {
    session.steady.forget(samples.map(({ deviceId }) => deviceId))
    return session.write(() => [judgeTimedSamples(samples)])
  },
  /** Readings that came before the tick count before it. */
  tickAlerts: async (session: DatabaseSession, { now }: { now: bigint }): Promise<void> => {
    foldAll(session)
    await session.write(() => [tickStates(now)])
  },
  clearAlerts: async (
    session: DatabaseSession,
    { deviceIds, reason, now }: { deviceIds: readonly number[]; reason: ClearReason; now: bigint },
  ): Promise<void> => {
    session.journal?.foldAllOf(new Set(deviceIds))
    session.steady.forget(deviceIds)
    await session.write(() => clearAlertsOfDevices(deviceIds, reason, now))
  },
  deleteAlertEvents: async (
    session: DatabaseSession,
    { seqs }: { seqs: readonly number[] },
  ): Promise<void> => {
    await session.write(() => [
      {
        sql: 'DELETE FROM alert_events WHERE seq IN (SELECT value FROM json_each(?))',
        args: [JSON.stringify(seqs)],
      },
    ])
  },
}
