/** `iotflow alert rule-update`: changes a rule. */
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
import { printRule, rulePath } from './rule-output.ts'

interface Options extends ConditionOptions, TargetOptions {
  readonly name?: string
  readonly severity?: string
}

export const addUpdateAlertRule = (to: Command) =>
  addTargetOptions(
    addConditionOptions(
      to
        .command('rule-update')
        .description(
          'changes an alert rule; another condition or other devices clear its open alerts. An empty text takes a part of the condition away',
        )
        .argument('<id>', 'its id, as `alert rule-list` prints it')
        .option('--name <name>', 'its new name'),
    ),
  )
    .option('--all', 'every device')
    .option('--severity <severity>', 'critical, warning or info')
    .addHelpText(
      'after',
      examples(
        'iotflow alert rule-update 3 --for 10m',
        'iotflow alert rule-update 3 --when "temperature > 32" --clear ""',
        'iotflow alert rule-update 3 --selector site=north --severity critical',
      ),
    )
    .action(
      action(async ({ api, output }, options: Options, id: string) => {
        const server = await api()
        const { rule: before } = await server.get(rulePath(id))
        const body = {
          name: options.name,
          severity: options.severity,
          target: await targetOf(options, server),
          condition: conditionOf(options, before.condition),
        }
        if (Object.values(body).every((value) => value === undefined))
          throw new UsageError('There is nothing to change: name a field, such as --severity.')
        const { rule } = await server.request('PUT', rulePath(id), { body })
        await printRule(output, rule)
      }),
    )
