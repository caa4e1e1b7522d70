/** Schemas of alert rules and alerts, as responses show them. */
import * as z from 'zod'
import { count, deviceId, time } from '../response-fields.ts'
import { alertStates } from './alert.ts'
import { conditionKinds, operators, severities } from './rule.ts'

const severity = z.enum(severities).meta({ id: 'Severity' })
const id = z.int().min(1)

const target = z
  .strictObject({
    device_id: deviceId.optional(),
    device_type: z.string().optional(),
    selector: z.string().optional(),
  })
  .meta({ id: 'AlertTarget', description: 'Devices that fit all parts; every device where there is none.' })

const value = z.union([z.number(), z.boolean(), z.string()])

const condition = z
  .discriminatedUnion('kind', [
    z.strictObject({
      kind: z.literal('threshold'),
      field: z.string(),
      op: z.enum(operators),
      value,
      for: z.string().optional(),
      clear_value: z.number().optional(),
      clear_for: z.string().optional(),
    }),
    z.strictObject({ kind: z.literal('no_data'), for: z.string() }),
    z.strictObject({ kind: z.literal('offline'), for: z.string().optional() }),
    z.strictObject({ kind: z.literal('warnings'), count, within: z.string() }),
    z.strictObject({ kind: z.literal('dead_letters'), count, within: z.string() }),
  ])
  .meta({ id: 'AlertCondition' })

export const rule = z
  .strictObject({
    id,
    revision: id.describe('Raised when the target or the condition changes.'),
    name: z.string(),
    enabled: z.boolean(),
    severity,
    target,
    condition,
    created_at: time,
    updated_at: time,
    open_alerts: count.describe('Devices for which an alert of this rule is open.'),
  })
  .meta({ id: 'AlertRule' })

export const clearReasons = [
  'condition',
  'rule_changed',
  'rule_deleted',
  'device_changed',
  'device_deleted',
  'maintenance',
  'inactive',
] as const

const alertFields = {
  id,
  rule_id: id,
  rule_name: z.string().describe('As the rule was called when the alert opened.'),
  severity,
  device_id: deviceId,
  device_name: z.string().nullable().describe('Null when the device is deleted.'),
  state: z.enum(alertStates).describe('`acknowledged`: it is open, and an operator knows it.'),
  kind: z.enum(conditionKinds),
  condition: condition.describe('As it was when the alert opened.'),
  opened_at: time,
  opened_value: value.nullable().describe('The value that opened it; a number of seconds, or a count.'),
  last_value: value.nullable().describe('The value that was judged last.'),
  last_at: time.nullable().describe('When that was.'),
  cleared_at: time.nullable(),
  clear_reason: z
    .enum(clearReasons)
    .nullable()
    .describe('`condition`: it holds no more. The others: nobody judges it any more.'),
  acknowledged_at: time.nullable(),
  acknowledged_note: z.string().nullable(),
}

export const alert = z.strictObject(alertFields).meta({ id: 'Alert' })

export const shownAlert = z
  .strictObject({
    ...alertFields,
    history: z.array(
      z.strictObject({
        at: time,
        kind: z.enum(['opened', 'acknowledged', 'note', 'cleared']),
        text: z.string().nullable(),
      }),
    ),
  })
  .meta({ id: 'ShownAlert', description: 'An alert with what happened to it, oldest first.' })

/** Open alerts by severity. */
export const openCounts = z
  .strictObject({ critical: count, warning: count, info: count })
  .meta({ id: 'OpenAlerts', description: 'Open alerts by severity, acknowledged ones included.' })
