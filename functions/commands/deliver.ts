/**
 * Called by the rule for the broker's events about subscriptions: delivers the commands that waited for a device. The broker
 * of `npm run dev` also calls it when clients have confirmed commands.
 */
import * as z from 'zod'
import type { Commands } from '../../lib/commands/commands.ts'
import { isAboutCommands } from '../../lib/commands/subscriptions.ts'
import { AppError } from '../../lib/errors.ts'
import { decodeJson } from '../../lib/json.ts'
import type { Log } from '../../lib/log.ts'
import type { ClientIds } from '../../lib/mqtt/client-ids.ts'
import type { TopicTree } from '../../lib/mqtt/topics.ts'
import * as runtime from '../../lib/runtime.ts'
import { serveEvents } from '../../lib/serve.ts'

/** The fields of a message that the rule selects. */
export interface SubscriptionMessage {
  /** Base64. */
  readonly payload: string
  readonly topic: string
}

/** Device and command id of each. */
export interface ReceivedCommands {
  readonly received: readonly (readonly [deviceId: number, commandId: string])[]
}

/** The event that AWS IoT Core publishes on `$aws/events/subscriptions/…`. */
const Subscription = z.object({
  clientId: z.string(),
  timestamp: z.number(),
  eventType: z.enum(['subscribed', 'unsubscribed']),
  sessionIdentifier: z.string(),
  topics: z.array(z.string()),
})

interface Deps {
  log: Log
  commands: Pick<Commands, 'subscribed' | 'received'>
  topics: TopicTree
  clientIds: ClientIds
}

export const deliverCommands = ({ log, commands, topics, clientIds }: Deps) => {
  const subscribed = async ({ topic, payload }: SubscriptionMessage) => {
    let content: unknown
    try {
      content = decodeJson(Buffer.from(payload, 'base64'))
    } catch (error) {
      if (!(error instanceof AppError)) throw error
    }
    const event = Subscription.safeParse(content).data
    if (event === undefined) {
      log.warn('subscription event ignored', { topic })
      return
    }
    // The events of all clients of an account come here, those of other stages too.
    const deviceId = clientIds.deviceOf(event.clientId)
    if (deviceId === undefined) return
    const { clientId, sessionIdentifier: sessionId, eventType: kind, topics: filters, timestamp: at } = event
    if (isAboutCommands(topics.of(deviceId), filters))
      await commands.subscribed({ deviceId, clientId, sessionId, kind, filters, at })
  }

  return async (event: SubscriptionMessage | ReceivedCommands): Promise<void> => {
    if ('topic' in event) return subscribed(event)
    for (const [deviceId, commandId] of event.received) commands.received(deviceId, commandId)
  }
}

export const handler = serveEvents(deliverCommands, {
  commands: runtime.commands,
  topics: runtime.topics,
  clientIds: runtime.clientIds,
})
