/** SQL of the states of alert rules: what samples and the time make of them. */
import type { FieldValue } from '../reading.ts'
import { judgedTime, type Sample, type Verdict } from '../samples.ts'
import { alertStates } from './alert-state.ts'
import type { SqlValue, Statement, Step } from './connection.ts'
import { isNotDuplicate } from './keys.ts'
import { keyFacts, type Message } from './message.ts'
import type { DatabaseSession } from './session.ts'

const { ok, pending, open, clearing } = alertStates

/** A sample as SQL reads it out of JSON. */
export interface SampleRow {
  readonly rule: number
  readonly revision: number
  readonly deviceId: number
  /** Nanoseconds since the epoch. */
  readonly ts: bigint
  readonly verdict: Verdict
  readonly value: FieldValue | null
  /** Of a reading with a key: members of a JSON object that tell whether it is a duplicate. */
  readonly key?: string | undefined
}

// JSON.stringify would refuse the time, and a number would lose its last digits.
const rowOf = ({ rule, revision, deviceId, ts, verdict, value, key }: SampleRow): string =>
  `{"rule":${rule},"revision":${revision},"deviceId":${deviceId},"device":${deviceId},"ts":${ts},"verdict":${verdict},"value":${JSON.stringify(value)}${key === undefined ? '' : `,${key}`}}`

const rowsOf = (samples: readonly SampleRow[]): string => `[${samples.map(rowOf).join(',')}]`

/** The first state of a rule at a device. */
const firstState = (verdict: string, hold: string) =>
  `iif(${verdict} = 1, iif(${hold} = 0, ${open}, ${pending}), ${ok})`

const passed = (hold: string) => `excluded.ts - alert_states.since >= excluded.${hold}`
const first = firstState('excluded.verdict', 'excluded.hold')

/** The time that has passed counts first, then the verdict. */
const nextState = `CASE
      WHEN alert_states.revision <> excluded.revision OR alert_states.state = ${ok} THEN ${first}
      WHEN alert_states.state = ${pending} AND NOT ${passed('hold')} THEN iif(excluded.verdict = 1, ${pending}, ${ok})
      WHEN alert_states.state = ${clearing} AND ${passed('clear_hold')} THEN ${first}
      WHEN alert_states.state = ${clearing} THEN iif(excluded.verdict = -1, ${clearing}, ${open})
      ELSE iif(excluded.verdict = -1, iif(excluded.clear_hold = 0, ${ok}, ${clearing}), ${open}) END`

/** Whether the state goes on for which `since` counts. */
const goesOn = `alert_states.revision = excluded.revision AND CASE alert_states.state
      WHEN ${pending} THEN excluded.verdict = 1 AND NOT ${passed('hold')}
      WHEN ${clearing} THEN excluded.verdict = -1 AND NOT ${passed('clear_hold')}
      ELSE false END`

/** @param source from JSON rows `s` and rules `r`. A sample that is not newer than the one before changes nothing. */
const upsert = (source: string, condition = 'true') => `
  INSERT INTO alert_states (device_id, rule_id, revision, state, verdict, since, ts, hold, clear_hold, since_value, value)
  ${source}
  ON CONFLICT DO UPDATE SET
    state = ${nextState},
    since = iif(${goesOn}, alert_states.since, excluded.ts),
    since_value = iif(${goesOn}, alert_states.since_value, excluded.value),
    revision = excluded.revision, verdict = excluded.verdict, ts = excluded.ts, hold = excluded.hold,
    clear_hold = excluded.clear_hold, value = excluded.value
  WHERE (excluded.ts > alert_states.ts OR excluded.revision <> alert_states.revision) AND ${condition}`

/** @param of gives the SQL of a part of a sample; `CROSS JOIN` keeps the order of the samples. */
const sampleSource = (
  of: (part: keyof SampleRow) => string,
  samples: string,
  condition: string,
) => `SELECT ${of('deviceId')},
    r.id, r.revision, ${firstState(of('verdict'), 'r.hold')}, ${of('verdict')}, ${of('ts')}, ${of('ts')}, r.hold, r.clear_hold,
    ${of('value')}, ${of('value')}
  FROM ${samples} AS s CROSS JOIN alert_rules AS r ON r.id = ${of('rule')} AND r.revision = ${of('revision')} AND r.enabled
  WHERE ${condition}`

const inJson = (part: keyof SampleRow) => (part === 'value' ? "s.value -> 'value'" : `s.value ->> '${part}'`)
const jsonSource = (condition: string) => `${sampleSource(inJson, 'json_each(?)', condition)} ORDER BY s.key`

const judgeReadings = upsert(jsonSource(isNotDuplicate('s.value')))

const parts: readonly (keyof SampleRow)[] = ['deviceId', 'rule', 'revision', 'verdict', 'ts', 'value']
const boundPart = (part: keyof SampleRow) => `s.column${parts.indexOf(part) + 1}`
const rowOfParts = `(${parts.map(() => '?').join(', ')})`
/** Makes steady states newer: the state stays, so that no trigger has to look at it. */
const markBound = [64, 16, 4, 1].map((count) => {
  const values = Array(count).fill('(?, ?, ?, ?, ?)').join(', ')
  const sql = `UPDATE alert_states SET verdict = column3, since = column4, ts = column4, since_value = column5, value = column5
    FROM (VALUES ${values}) WHERE device_id = column1 AND rule_id = column2`
  return [count, sql] as const
})

const judgeBound = [64, 16, 4, 1].map((count) => {
  const values = `(VALUES ${Array(count).fill(rowOfParts).join(', ')})`
  return [count, upsert(sampleSource(boundPart, values, 'true'))] as const
})

/** @param statements by the number of samples that each takes, the largest first. */
function bindAll(
  statements: readonly (readonly [count: number, sql: string])[],
  samples: readonly SampleRow[],
  argsOf: (sample: SampleRow) => SqlValue[],
): Statement[] {
  const bound: Statement[] = []
  let at = 0
  for (const [count, sql] of statements)
    for (; at + count <= samples.length; at += count)
      bound.push({ sql, args: samples.slice(at, at + count).flatMap(argsOf) })
  return bound
}

const markSteady = (marks: readonly SampleRow[]): Statement[] =>
  bindAll(markBound, marks, ({ deviceId, rule, verdict, ts, value }) => [
    deviceId,
    rule,
    verdict,
    ts,
    JSON.stringify(value),
  ])

/** Judges samples without keys on a file: that costs half of taking them out of JSON. */
const judgeAllBound = (samples: readonly SampleRow[]): Statement[] =>
  bindAll(judgeBound, samples, ({ deviceId, rule, revision, verdict, ts, value }) => [
    deviceId,
    rule,
    revision,
    verdict,
    ts,
    JSON.stringify(value),
  ])

/** Judges samples of readings, those of duplicates left out. It comes after the statement that notes their keys. */
export const judgeSamples = (samples: readonly SampleRow[]): Statement[] =>
  samples.length === 0 ? [] : [{ sql: judgeReadings, args: [rowsOf(samples)] }]

/** Samples as JSON: of each its rule, revision, place of the reading, verdict and value, one after the other. */
export function encodeSamples(samples: readonly Sample[]): string {
  let text = ''
  for (const { rule, revision, at, verdict, value } of samples)
    text += `${text === '' ? '[' : ','}${rule},${revision},${at},${verdict},${typeof value === 'string' ? JSON.stringify(value) : value}`
  return `${text}]`
}

/** One text for all of them is parsed faster than many small ones. */
const sampleRowsOf = (messages: readonly Message[]): SampleRow[] => {
  const judged = messages.filter(({ samples }) => samples !== undefined)
  const all = JSON.parse(`[${judged.map(({ samples }) => samples).join(',')}]`) as (number | FieldValue)[][]
  const rows: SampleRow[] = []
  for (const [place, { deviceId, receivedAt, request, readings }] of judged.entries()) {
    const samples = all[place] ?? []
    for (let from = 0; from < samples.length; from += 5) {
      const { ts, key, token } = readings[samples[from + 2] as number] ?? {}
      if (ts === undefined) continue
      rows.push({
        rule: samples[from] as number,
        revision: samples[from + 1] as number,
        deviceId,
        ts: judgedTime(ts, receivedAt),
        verdict: samples[from + 3] as Verdict,
        value: samples[from + 4] as FieldValue,
        key: token === undefined ? undefined : `"token":"${token}",${keyFacts(key, request)}`,
      })
    }
  }
  return rows
}

/**
 * As {@link judgeSamples}, with the samples of messages: message by message as they arrived, so that it makes no difference which
 * messages are judged together.
 */
export function judgeMessages(
  session: DatabaseSession,
  messages: readonly Message[],
  changedElsewhere: boolean,
): Step[] {
  const samples = sampleRowsOf(messages)
  if (session.file === undefined || samples.length === 0) return judgeSamples(samples)
  if (changedElsewhere) return judgeOnFile(samples)
  const { marks, rows, unsure, written } = session.steady.reduce(samples)
  const statements = [...markSteady(marks), ...judgeOnFile(rows)]
  const [first, ...others] = [...statements, ...session.steady.learn(unsure)]
  return first === undefined ? [] : [{ ...first, committed: written }, ...others]
}

const judgeOnFile = (samples: readonly SampleRow[]): Statement[] =>
  samples.some(({ key }) => key !== undefined) ? judgeSamples(samples) : judgeAllBound(samples)

/** A sweep sees every device again and again: what changes nothing is not written. */
const judgeTimed = upsert(
  jsonSource(`(s.value ->> 'verdict' = 1 OR EXISTS (SELECT 1 FROM alert_states AS known
    WHERE known.device_id = s.value ->> 'device' AND known.rule_id = r.id))`),
  `NOT (alert_states.revision = excluded.revision AND alert_states.verdict = excluded.verdict
      AND alert_states.state IN (${ok}, ${open}))`,
)

/** Judges what a sweep over the fleet has found. */
export const judgeTimedSamples = (samples: readonly SampleRow[]): Statement => ({
  sql: judgeTimed,
  args: [rowsOf(samples)],
})

/** Opens and clears what is due. @param now ns since the epoch. */
export const tickStates = (now: bigint): Statement => ({
  sql: `UPDATE alert_states SET state = iif(state = ${pending}, ${open}, ${ok})
    WHERE state IN (${pending}, ${clearing}) AND since + iif(state = ${pending}, hold, clear_hold) <= ?
      AND EXISTS (SELECT 1 FROM alert_rules AS r WHERE r.id = rule_id AND r.revision = alert_states.revision AND r.enabled)`,
  args: [now],
})

export type ClearReason =
  | 'condition'
  | 'rule_changed'
  | 'rule_deleted'
  | 'device_changed'
  | 'device_deleted'
  | 'maintenance'
  | 'inactive'

/** Clears open alerts. @param which condition of SQL over `:which`. @param now ns since the epoch. */
const clearOpen = (condition: string, which: string | number, reason: ClearReason, now: bigint) => ({
  sql: `UPDATE alerts SET cleared_at = max(opened_at, :now), clear_reason = :reason,
      (last_at, last_value) = (SELECT ts, value FROM alert_states AS s
        WHERE s.device_id = alerts.device_id AND s.rule_id = alerts.rule_id AND s.revision = alerts.revision)
    WHERE cleared_at IS NULL AND ${condition}`,
  args: { which, now, reason },
})

/** @param now ns since the epoch. */
export const clearAlertsOfRule = (ruleId: number, reason: ClearReason, now: bigint) =>
  clearOpen('rule_id = :which', ruleId, reason, now)

/** Clears the alerts of devices; what was judged of them begins anew. @param now ns since the epoch. */
export function clearAlertsOfDevices(deviceIds: readonly number[], reason: ClearReason, now: bigint): Step[] {
  const which = JSON.stringify(deviceIds)
  const ofDevices = 'device_id IN (SELECT value FROM json_each(:which))'
  return [
    clearOpen(ofDevices, which, reason, now),
    {
      sql:
        reason === 'device_deleted'
          ? `DELETE FROM alert_states WHERE ${ofDevices}`
          : `UPDATE alert_states SET state = ${ok}, verdict = 0 WHERE ${ofDevices} AND (state <> ${ok} OR verdict <> 0)`,
      args: { which },
    },
  ]
}

/**
 * Clears the alerts of rules that are not about their device any more; what was judged of it begins anew.
 * @param now ns since the epoch.
 */
export function clearAlertsOfPairs(
  pairs: readonly (readonly [device: number, rule: number])[],
  now: bigint,
): Step[] {
  const which = JSON.stringify(pairs)
  const ofPairs = '(device_id, rule_id) IN (SELECT value ->> 0, value ->> 1 FROM json_each(:which))'
  return [
    clearOpen(ofPairs, which, 'device_changed', now),
    { sql: `UPDATE alert_states SET state = ${ok}, verdict = 0 WHERE ${ofPairs}`, args: { which } },
  ]
}

/** Messages that came before count before: it folds the journal. */
export const foldAll = (session: DatabaseSession): void => {
  while (session.journal?.fold()) {}
}
