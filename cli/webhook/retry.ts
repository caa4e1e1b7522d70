/** `iotflow webhook retry`: tries a delivery again now. */
import type { Command } from 'commander'
import type { Answer } from '../api.ts'
import { action, examples } from '../context.ts'
import { deliveryPath } from './webhook-output.ts'

export const addRetryWebhookDelivery = (to: Command) =>
  to
    .command('retry')
    .description('tries deliveries again now, also those that failed')
    .argument('<webhook-id>', 'as `webhook list` prints it')
    .argument('<id...>', 'their ids, as `webhook deliveries` prints them')
    .addHelpText('after', examples('iotflow webhook retry 2 117', 'iotflow webhook retry 2 117 118'))
    .action(
      action(async ({ api, output }, _options: object, webhook: string, ids: readonly string[]) => {
        const server = await api()
        const deliveries: Answer[] = []
        for (const id of ids) {
          const { delivery } = await server.request('POST', `${deliveryPath(webhook, id)}/retry`)
          deliveries.push(delivery)
        }
        await output.result(deliveries, () =>
          deliveries.map(({ id }) => `Delivery ${id} is tried again.\n`).join(''),
        )
      }),
    )
