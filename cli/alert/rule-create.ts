/** `iotflow alert rule-create`: makes a rule that is judged from the next reading on. */
import type { Command } from 'commander'
import { UsageError } from '../../scripts/command.ts'
import { action, examples } from '../context.ts'
import {
  addConditionOptions,
  addTargetOptions,
  type ConditionOptions,
  conditionOf,
  type TargetOptions,
  targetOf,
} from './condition.ts'
import { printRule } from './rule-output.ts'

interface Options extends ConditionOptions, TargetOptions {
  readonly severity?: string
  readonly disabled?: boolean
}

export const addCreateAlertRule = (to: Command) =>
  addTargetOptions(
    addConditionOptions(
      to
        .command('rule-create')
        .description('makes an alert rule; without --device, --type or --selector it is about every device')
        .argument('<name>', 'what it is called in lists and messages'),
    ),
  )
    .option('--severity <severity>', 'critical, warning or info', 'warning')
    .option('--disabled', 'it is not judged before `alert rule-enable`')
    .addHelpText(
      'after',
      examples(
        'iotflow alert rule-create "Too warm" --when "temperature > 30" --for 5m --clear 28 --severity critical',
        "iotflow alert rule-create 'Door open' --when 'door == open' --selector site=north",
        'iotflow alert rule-create Silent --no-data 10m --type sensor',
        'iotflow alert rule-create Offline --offline --for 2m --device pump-3',
        'iotflow alert rule-create "Bad readings" --warnings 10 --within 1h --severity info',
      ),
    )
    .action(
      action(async ({ api, output }, options: Options, name: string) => {
        const condition = conditionOf(options)
        if (condition === undefined)
          throw new UsageError(
            'Name a condition: --when, --no-data, --offline, --warnings or --dead-letters.',
          )
        const server = await api()
        const { rule } = await server.request('POST', '/api/v1/admin/alert-rules', {
          body: {
            name,
            enabled: !options.disabled,
            severity: options.severity,
            target: await targetOf(options, server),
            condition,
          },
        })
        await printRule(output, rule)
      }),
    )
