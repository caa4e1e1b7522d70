/** `iotflow webhook delete`: deletes a webhook with its deliveries. */
import type { Command } from 'commander'
import { confirm } from '../confirm.ts'
import { action, examples } from '../context.ts'
import { webhookPath } from './webhook-output.ts'

interface Options {
  readonly yes?: boolean
}

export const addDeleteWebhook = (to: Command) =>
  to
    .command('delete')
    .description('deletes a webhook with its deliveries, also those that wait')
    .argument('<id>', 'its id, as `webhook list` prints it')
    .option('--yes', 'does not ask')
    .addHelpText('after', examples('iotflow webhook delete 2', 'iotflow webhook delete 2 --yes'))
    .action(
      action(async ({ api, output }, { yes }: Options, id: string) => {
        const server = await api()
        const { webhook } = await server.get(webhookPath(id))
        const { name, pending } = webhook
        const waiting = pending > 0 ? ` with ${pending} deliveries that wait` : ''
        await confirm(`Webhook ${id}, ${name}, will be deleted${waiting}.`, name, yes)
        const answer = await server.request('DELETE', webhookPath(id))
        await output.result(answer, () => `Webhook ${id}, ${name}, is deleted.\n`)
      }),
    )
