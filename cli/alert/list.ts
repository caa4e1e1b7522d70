/** `iotflow alert list`: alerts, newest first. */
import type { Command } from 'commander'
import { UsageError } from '../../scripts/command.ts'
import type { Answer } from '../api.ts'
import { action, examples } from '../context.ts'
import { wholeNumber } from '../numbers.ts'
import { alertsPath, openAlerts } from './alert-output.ts'
import { conditionText, valueText } from './condition.ts'

interface Options {
  readonly open?: boolean
  readonly state?: string
  readonly severity?: string
  readonly device?: string
  readonly rule?: string
  readonly limit: string
}

export const addListAlerts = (to: Command) =>
  to
    .command('list')
    .description('lists alerts, newest first')
    .option('--open', 'only those that are not cleared, acknowledged or not')
    .option('--state <state>', 'only those that are open and not acknowledged, acknowledged, or cleared')
    .option('--severity <severity>', 'critical, warning or info')
    .option('--device <device>', 'only those of this device: its id or its name')
    .option('--rule <id>', 'only those of this rule')
    .option('--limit <number>', 'alerts at most', '100')
    .addHelpText(
      'after',
      examples(
        'iotflow alert list --open',
        'iotflow alert list --state acknowledged --severity critical',
        'iotflow alert list --device pump-3 --limit 10 --json',
      ),
    )
    .action(
      action(async ({ api, output }, options: Options) => {
        const { open, state, severity, device, rule, limit } = options
        if (open && state !== undefined) throw new UsageError('--open and --state do not go together.')
        const most = wholeNumber('--limit', limit)
        const server = await api()
        const query = {
          severity,
          device_id: device === undefined ? undefined : (await server.device(device)).id,
          rule_id: rule === undefined ? undefined : wholeNumber('--rule', rule),
        }
        const alerts: Answer[] = []
        const found = open
          ? await openAlerts(server, query)
          : server.pages(alertsPath, 'alerts', { ...query, state, limit: Math.min(most, 1000) })
        for await (const alert of found) {
          if (alerts.length >= most) break
          alerts.push(alert)
        }
        await output.table(
          alerts,
          ['id', 'state', 'severity', 'rule', 'device', 'condition', 'opened', 'value', 'cleared', 'because'],
          alerts.map((alert) => [
            alert.id,
            alert.state,
            alert.severity,
            alert.rule_name,
            alert.device_name ?? alert.device_id,
            conditionText(alert.condition),
            alert.opened_at,
            valueText(alert.last_value),
            alert.cleared_at,
            alert.clear_reason,
          ]),
        )
      }),
    )
