/** `iotflow alert rule-list`: the rules, newest first. */
import type { Command } from 'commander'
import type { Answer } from '../api.ts'
import { action, examples } from '../context.ts'
import { conditionText, targetText } from './condition.ts'

export const addListAlertRules = (to: Command) =>
  to
    .command('rule-list')
    .description('lists the alert rules, newest first')
    .addHelpText('after', examples('iotflow alert rule-list', 'iotflow alert rule-list --json'))
    .action(
      action(async ({ api, output }) => {
        const server = await api()
        const rules: Answer[] = []
        for await (const rule of server.pages('/api/v1/admin/alert-rules', 'rules', { limit: 1000 }))
          rules.push(rule)
        await output.table(
          rules,
          ['id', 'name', 'enabled', 'severity', 'devices', 'condition', 'open alerts'],
          rules.map((rule) => [
            rule.id,
            rule.name,
            rule.enabled ? 'yes' : 'no',
            rule.severity,
            targetText(rule.target),
            conditionText(rule.condition),
            rule.open_alerts,
          ]),
        )
      }),
    )
