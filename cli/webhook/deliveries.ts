/** `iotflow webhook deliveries`: what a webhook was told, newest first. */
import type { Command } from 'commander'
import type { Answer } from '../api.ts'
import { action, examples } from '../context.ts'
import { wholeNumber } from '../numbers.ts'
import { webhookPath } from './webhook-output.ts'

interface Options {
  readonly status?: string
  readonly limit: string
}

export const addListWebhookDeliveries = (to: Command) =>
  to
    .command('deliveries')
    .description(
      'lists what a webhook was told, newest first; deliveries are kept for 7 days after their end',
    )
    .argument('<id>', 'its id, as `webhook list` prints it')
    .option('--status <status>', 'pending, delivered, failed or cancelled')
    .option('--limit <number>', 'deliveries at most', '100')
    .addHelpText(
      'after',
      examples('iotflow webhook deliveries 2', 'iotflow webhook deliveries 2 --status failed --json'),
    )
    .action(
      action(async ({ api, output }, { status, limit }: Options, id: string) => {
        const most = wholeNumber('--limit', limit)
        const query = { status, limit: Math.min(most, 1000) }
        const deliveries: Answer[] = []
        for await (const delivery of (await api()).pages(
          `${webhookPath(id)}/deliveries`,
          'deliveries',
          query,
        )) {
          if (deliveries.length >= most) break
          deliveries.push(delivery)
        }
        await output.table(
          deliveries,
          ['id', 'event', 'device', 'status', 'attempts', 'made', 'next attempt', 'finished', 'answer'],
          deliveries.map((delivery) => [
            delivery.id,
            delivery.type,
            delivery.device_id,
            delivery.status,
            delivery.attempt_count,
            delivery.created_at,
            delivery.next_attempt_at,
            delivery.finished_at,
            delivery.last_error ?? delivery.last_status_code,
          ]),
        )
      }),
    )
