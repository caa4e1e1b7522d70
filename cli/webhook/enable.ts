/** `iotflow webhook enable` and `disable`: whether an address is told of events. */
import type { Command } from 'commander'
import { action, examples } from '../context.ts'
import { webhookPath } from './webhook-output.ts'

const addSwitch = (to: Command, name: string, description: string, enabled: boolean) =>
  to
    .command(name)
    .description(description)
    .argument('<id>', 'its id, as `webhook list` prints it')
    .addHelpText('after', examples(`iotflow webhook ${name} 2`))
    .action(
      action(async ({ api, output }, _options: object, id: string) => {
        const { webhook } = await (await api()).request('PUT', webhookPath(id), { body: { enabled } })
        await output.result(
          webhook,
          () => `Webhook ${webhook.id}, ${webhook.name}, is ${enabled ? 'enabled' : 'disabled'}.\n`,
        )
      }),
    )

export const addEnableWebhook = (to: Command) =>
  addSwitch(to, 'enable', 'tells a webhook of events again; what happened meanwhile stays untold', true)

export const addDisableWebhook = (to: Command) =>
  addSwitch(to, 'disable', 'stops telling a webhook of events', false)
