/** `iotflow webhook rotate-secret`: makes a new secret for the messages of a webhook. */
import type { Command } from 'commander'
import { UsageError } from '../../scripts/command.ts'
import { action, examples } from '../context.ts'
import { webhookPath } from './webhook-output.ts'

interface Options {
  readonly overlap: string
}

export const addRotateWebhookSecret = (to: Command) =>
  to
    .command('rotate-secret')
    .description('makes a new secret and prints it; for a while messages are signed with both')
    .argument('<id>', 'its id, as `webhook list` prints it')
    .option('--overlap <seconds>', 'how long the old secret signs too, 0 to 604800', '86400')
    .addHelpText(
      'after',
      examples('iotflow webhook rotate-secret 2', 'iotflow webhook rotate-secret 2 --overlap 0'),
    )
    .action(
      action(async ({ api, output }, { overlap }: Options, id: string) => {
        if (!/^\d{1,9}$/.test(overlap)) throw new UsageError('--overlap must be a whole number of seconds.')
        const answer = await (await api()).request('POST', `${webhookPath(id)}/rotate-secret`, {
          body: { overlap_s: Number(overlap) },
        })
        const { status: _status, ...fields } = answer
        await output.fields(fields, [
          ['id', answer.webhook.id],
          ['name', answer.webhook.name],
          ['secret', answer.secret],
          ['the old one ends', answer.previous_secret_until],
        ])
      }),
    )
