/** Alerts as commands read and print them. */
import type { Answer, Api, Query } from '../api.ts'
import { type Cell, type Output, tableOf } from '../output.ts'
import { conditionText, valueText } from './condition.ts'

export const alertsPath = '/api/v1/admin/alerts'

/** The path of an alert. @param id as it was typed. */
export const alertPath = (id: string | number): string => `${alertsPath}/${encodeURIComponent(id)}`

/** Alerts that are not cleared, newest first. */
export async function openAlerts(server: Api, query: Query = {}): Promise<Answer[]> {
  const byId = new Map<number, Answer>()
  // In this order: an alert that is acknowledged in between is found twice, and not missed.
  for (const state of ['open', 'acknowledged'])
    for await (const alert of server.pages(alertsPath, 'alerts', { ...query, state, limit: 1000 }))
      byId.set(alert.id, alert)
  return [...byId.values()].sort((one, other) => other.id - one.id)
}

/** An alert with its history. */
export const printAlert = (output: Output, alert: Answer): Promise<void> =>
  output.result(alert, () => {
    const fields: readonly (readonly [string, Cell])[] = [
      ['id', alert.id],
      ['state', alert.state],
      ['severity', alert.severity],
      ['rule', `${alert.rule_id}, ${alert.rule_name}`],
      ['device', `${alert.device_id}, ${alert.device_name ?? 'which is deleted'}`],
      ['condition', conditionText(alert.condition)],
      ['opened', alert.opened_at],
      ['opened by', valueText(alert.opened_value)],
      ['last value', valueText(alert.last_value)],
      ['judged', alert.last_at],
      ['acknowledged', alert.acknowledged_at],
      ['cleared', alert.cleared_at],
      ['because', alert.clear_reason],
    ]
    return [
      tableOf(['field', 'value'], fields),
      tableOf(
        ['time', 'what', 'text'],
        alert.history.map(({ at, kind, text }: Answer) => [at, kind, text]),
      ),
    ].join('\n')
  })
