/** `iotflow webhook create`: an address that is told of events. */
import type { Command } from 'commander'
import { action, examples } from '../context.ts'
import { eventsHelp, eventsOf, webhookFields, webhooksPath } from './webhook-output.ts'

interface Options {
  readonly events: string
  readonly disabled?: boolean
}

export const addCreateWebhook = (to: Command) =>
  to
    .command('create')
    .description('makes a webhook, and prints the secret that signs its messages: it is shown only now')
    .argument('<name>', 'what it is for')
    .argument('<url>', 'an address of https')
    .requiredOption('--events <types>', eventsHelp)
    .option('--disabled', 'it is told of nothing before `webhook enable`')
    .addHelpText(
      'after',
      examples(
        "iotflow webhook create operators https://hooks.example.com/iotflow --events 'alert.*'",
        "iotflow webhook create audit https://audit.example.com/in --events 'device.*,command.*' --json",
      ),
    )
    .action(
      action(async ({ api, output }, { events, disabled }: Options, name: string, url: string) => {
        const server = await api()
        const { webhook, secret } = await server.request('POST', webhooksPath, {
          body: { name, url, events: eventsOf(events), enabled: !disabled },
        })
        await output.fields({ ...webhook, secret }, [...webhookFields(webhook), ['secret', secret]])
      }),
    )
