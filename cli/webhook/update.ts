/** `iotflow webhook update`: changes a webhook. */
import type { Command } from 'commander'
import { UsageError } from '../../scripts/command.ts'
import { action, examples } from '../context.ts'
import { eventsHelp, eventsOf, webhookFields, webhookPath } from './webhook-output.ts'

interface Options {
  readonly name?: string
  readonly address?: string
  readonly events?: string
}

export const addUpdateWebhook = (to: Command) =>
  to
    .command('update')
    .description('changes a webhook; its secret stays')
    .argument('<id>', 'its id, as `webhook list` prints it')
    .option('--name <name>', 'its new name')
    .option('--address <url>', 'its new address; --url names the server')
    .option('--events <types>', eventsHelp)
    .addHelpText(
      'after',
      examples(
        "iotflow webhook update 2 --events 'alert.*,device.offline'",
        'iotflow webhook update 2 --address https://hooks.example.com/new',
      ),
    )
    .action(
      action(async ({ api, output }, { name, address, events }: Options, id: string) => {
        const body = { name, url: address, events: eventsOf(events) }
        if (Object.values(body).every((value) => value === undefined))
          throw new UsageError('There is nothing to change: name a field, such as --events.')
        const { webhook } = await (await api()).request('PUT', webhookPath(id), { body })
        await output.fields(webhook, webhookFields(webhook))
      }),
    )
