/** `iotflow webhook delivery`: one delivery with each attempt. */
import type { Command } from 'commander'
import type { Answer } from '../api.ts'
import { action, examples } from '../context.ts'
import { tableOf } from '../output.ts'
import { deliveryPath } from './webhook-output.ts'

export const addShowWebhookDelivery = (to: Command) =>
  to
    .command('delivery')
    .description('shows one delivery with its message and each attempt')
    .argument('<webhook-id>', 'as `webhook list` prints it')
    .argument('<id>', 'its id, as `webhook deliveries` prints it')
    .addHelpText('after', examples('iotflow webhook delivery 2 117', 'iotflow webhook delivery 2 117 --json'))
    .action(
      action(async ({ api, output }, _options: object, webhook: string, id: string) => {
        const { delivery } = await (await api()).get(deliveryPath(webhook, id))
        await output.result(delivery, () => {
          const { attempts, body, ...fields } = delivery
          return [
            tableOf(
              ['field', 'value'],
              [...Object.entries(fields as Record<string, string>), ['message', JSON.stringify(body)]],
            ),
            tableOf(
              ['attempt', 'ms', 'HTTP status', 'error', 'answer'],
              attempts.map((attempt: Answer) => [
                attempt.at,
                attempt.duration_ms,
                attempt.status_code,
                attempt.error,
                attempt.answer?.slice(0, 60),
              ]),
            ),
          ].join('\n')
        })
      }),
    )
