/** `iotflow webhook show`: one webhook; its secret is shown when it is made only. */
import type { Command } from 'commander'
import { action, examples } from '../context.ts'
import { webhookFields, webhookPath } from './webhook-output.ts'

export const addShowWebhook = (to: Command) =>
  to
    .command('show')
    .description('shows a webhook, without its secret')
    .argument('<id>', 'its id, as `webhook list` prints it')
    .addHelpText('after', examples('iotflow webhook show 2', 'iotflow webhook show 2 --json'))
    .action(
      action(async ({ api, output }, _options: object, id: string) => {
        const { webhook } = await (await api()).get(webhookPath(id))
        await output.fields(webhook, webhookFields(webhook))
      }),
    )
