/** `iotflow alert rule-delete`: deletes a rule; its alerts stay listed. */
import type { Command } from 'commander'
import { confirm } from '../confirm.ts'
import { action, examples } from '../context.ts'
import { rulePath } from './rule-output.ts'

interface Options {
  readonly yes?: boolean
}

export const addDeleteAlertRule = (to: Command) =>
  to
    .command('rule-delete')
    .description('deletes an alert rule and clears its open alerts; its alerts stay listed')
    .argument('<id>', 'its id, as `alert rule-list` prints it')
    .option('--yes', 'does not ask')
    .addHelpText('after', examples('iotflow alert rule-delete 3', 'iotflow alert rule-delete 3 --yes'))
    .action(
      action(async ({ api, output }, { yes }: Options, id: string) => {
        const server = await api()
        const { rule } = await server.get(rulePath(id))
        const { name, open_alerts: open } = rule
        await confirm(
          `Alert rule ${id}, ${name}, will be deleted; ${open} open alerts are cleared.`,
          name,
          yes,
        )
        const answer = await server.request('DELETE', rulePath(id))
        await output.result(answer, () => `Alert rule ${id}, ${name}, is deleted.\n`)
      }),
    )
