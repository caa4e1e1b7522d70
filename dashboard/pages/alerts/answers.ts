/** Answers of the API that the pages of alerts show. */
import type { documentation as listRules } from '../../../functions/admin/alert-rules.ts'
import type { documentation as listAlerts } from '../../../functions/admin/alerts.ts'
import type { documentation as showAlert } from '../../../functions/admin/show-alert.ts'
import type { Answer } from '../../answers.ts'

export type RuleList = Answer<typeof listRules>
export type AlertRule = RuleList['rules'][number]
export type Condition = AlertRule['condition']
export type Operator = Extract<Condition, { kind: 'threshold' }>['op']
export type Target = AlertRule['target']
export type Severity = AlertRule['severity']

export type AlertList = Answer<typeof listAlerts>
export type Alert = AlertList['alerts'][number]
export type AlertState = Alert['state']
export type ShownAlert = Answer<typeof showAlert>
export type AlertDetails = ShownAlert['alert']

/** The gravest first. */
export const severities = ['critical', 'warning', 'info'] as const satisfies readonly Severity[]
export const alertStates = ['open', 'acknowledged', 'cleared'] as const satisfies readonly AlertState[]
