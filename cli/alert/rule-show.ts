/** `iotflow alert rule-show`: one rule. */
import type { Command } from 'commander'
import { action, examples } from '../context.ts'
import { printRule, rulePath } from './rule-output.ts'

export const addShowAlertRule = (to: Command) =>
  to
    .command('rule-show')
    .description('shows an alert rule')
    .argument('<id>', 'its id, as `alert rule-list` prints it')
    .addHelpText('after', examples('iotflow alert rule-show 3', 'iotflow alert rule-show 3 --json'))
    .action(
      action(async ({ api, output }, _options: object, id: string) => {
        const { rule } = await (await api()).get(rulePath(id))
        await printRule(output, rule)
      }),
    )
