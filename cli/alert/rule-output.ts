/** Alert rules as commands print them. */
import type { Answer } from '../api.ts'
import type { Output } from '../output.ts'
import { conditionText, targetText } from './condition.ts'

/** The path of a rule. @param id as it was typed. */
export const rulePath = (id: string): string => `/api/v1/admin/alert-rules/${encodeURIComponent(id)}`

export const printRule = (output: Output, rule: Answer): Promise<void> =>
  output.fields(rule, [
    ['id', rule.id],
    ['name', rule.name],
    ['enabled', rule.enabled ? 'yes' : 'no'],
    ['severity', rule.severity],
    ['devices', targetText(rule.target)],
    ['condition', conditionText(rule.condition)],
    ['open alerts', rule.open_alerts],
    ['revision', rule.revision],
    ['made', rule.created_at],
    ['changed', rule.updated_at],
  ])
