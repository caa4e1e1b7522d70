/** `iotflow alert rule-enable` and `rule-disable`: whether a rule is judged. */
import type { Command } from 'commander'
import type { Answer } from '../api.ts'
import { action, examples } from '../context.ts'
import { rulePath } from './rule-output.ts'

const addSwitch = (to: Command, name: string, description: string, enabled: boolean) =>
  to
    .command(name)
    .description(description)
    .argument('<id...>', 'their ids, as `alert rule-list` prints them')
    .addHelpText('after', examples(`iotflow alert ${name} 3`, `iotflow alert ${name} 3 4 5`))
    .action(
      action(async ({ api, output }, _options: object, ids: readonly string[]) => {
        const server = await api()
        const rules: Answer[] = []
        for (const id of ids) {
          const { rule } = await server.request('PUT', rulePath(id), { body: { enabled } })
          rules.push(rule)
        }
        await output.result(rules, () =>
          rules
            .map((rule) => `Alert rule ${rule.id}, ${rule.name}, is ${enabled ? 'enabled' : 'disabled'}.\n`)
            .join(''),
        )
      }),
    )

export const addEnableAlertRule = (to: Command) =>
  addSwitch(to, 'rule-enable', 'makes alert rules judged again', true)

export const addDisableAlertRule = (to: Command) =>
  addSwitch(to, 'rule-disable', 'stops judging alert rules, and clears their open alerts', false)
