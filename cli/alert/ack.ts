/** `iotflow alert ack`: an operator knows of open alerts. */
import type { Command } from 'commander'
import type { Answer } from '../api.ts'
import { action, examples } from '../context.ts'
import { alertPath } from './alert-output.ts'

interface Options {
  readonly note?: string
}

export const addAcknowledgeAlert = (to: Command) =>
  to
    .command('ack')
    .description('acknowledges open alerts; they stay open until their conditions end')
    .argument('<id...>', 'their ids, as `alert list` prints them')
    .option('--note <text>', 'what others should know')
    .addHelpText(
      'after',
      examples('iotflow alert ack 12', 'iotflow alert ack 12 13 --note "The fan is being replaced."'),
    )
    .action(
      action(async ({ api, output }, { note }: Options, ids: readonly string[]) => {
        const server = await api()
        const alerts: Answer[] = []
        for (const id of ids) {
          const { alert } = await server.request('POST', `${alertPath(id)}/acknowledge`, { body: { note } })
          alerts.push(alert)
        }
        await output.result(alerts, () =>
          alerts.map(({ id, rule_name: rule }) => `Alert ${id}, ${rule}, is acknowledged.\n`).join(''),
        )
      }),
    )
