/** The check of webhooks: those that nobody is told by. */
import { CommandError } from '../../scripts/command.ts'
import { type Answer, Api } from '../api.ts'
import { connect } from '../connection.ts'
import type { GlobalOptions } from '../context.ts'
import { stateText, webhooksPath } from '../webhook/webhook-output.ts'
import { type Finding, ok, warning } from './finding.ts'

/** Those that an operator has disabled are as they should be. */
const isTrouble = ({ enabled, disabled_reason: reason, paused_until: paused }: Answer): boolean =>
  enabled ? paused !== null : reason !== null

/** Asks the server that runs. Nothing where it has no webhooks, or where there is no admin token. */
export async function checkWebhooks(options: GlobalOptions): Promise<Finding[]> {
  try {
    const { url, token } = await connect(options)
    const server = new Api({ url, headers: { Authorization: `Bearer ${token}` } })
    const webhooks: Answer[] = []
    for await (const webhook of server.pages(webhooksPath, 'webhooks')) webhooks.push(webhook)
    const found = webhooks
      .filter(isTrouble)
      .map((webhook) =>
        warning(
          `webhook ${webhook.id}`,
          `${webhook.name}: ${stateText(webhook)}`,
          `iotflow webhook deliveries ${webhook.id} shows its attempts, iotflow webhook test ${webhook.id} tries it.`,
        ),
      )
    if (found.length > 0) return found
    return webhooks.length === 0
      ? []
      : [ok('webhooks', `${webhooks.length} of ${webhooks.length} are told of events`)]
  } catch (error) {
    // The other checks say what is wrong with the server.
    if (error instanceof CommandError) return []
    throw error
  }
}
