/** `iotflow webhook list`: the addresses that are told of events. */
import type { Command } from 'commander'
import type { Answer } from '../api.ts'
import { action, examples } from '../context.ts'
import { stateText, webhooksPath } from './webhook-output.ts'

export const addListWebhooks = (to: Command) =>
  to
    .command('list')
    .description('lists the webhooks')
    .addHelpText('after', examples('iotflow webhook list', 'iotflow webhook list --json'))
    .action(
      action(async ({ api, output }) => {
        const server = await api()
        const webhooks: Answer[] = []
        for await (const webhook of server.pages(webhooksPath, 'webhooks')) webhooks.push(webhook)
        await output.table(
          webhooks,
          ['id', 'name', 'address', 'events', 'state', 'failures', 'waiting'],
          webhooks.map((webhook) => [
            webhook.id,
            webhook.name,
            webhook.url,
            webhook.events.join(', '),
            stateText(webhook),
            webhook.failures,
            webhook.pending,
          ]),
        )
      }),
    )
