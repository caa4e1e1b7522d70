/** Lifecycle events of connections and subscriptions, as AWS IoT Core has them: on topics that no client may use, for the rules only. */
import pRetry from 'p-retry'
import type { TopicRule } from '../rules.ts'
import type { Connection } from './connection.ts'
import type { BrokerOptions } from './options.ts'

type LifecycleOptions = Pick<BrokerOptions, 'rules' | 'invoke' | 'nextMessageId' | 'log'> & {
  /** Aborted when the broker closes: events are neither announced nor retried any more. */
  readonly closing: AbortSignal
}

/** AWS IoT Core tries a rule's function three times. */
const retries = { retries: 2, minTimeout: 100, factor: 10 }

export class Lifecycle {
  private readonly options: LifecycleOptions
  private readonly announcing = new Set<Promise<void>>()

  constructor(options: LifecycleOptions) {
    this.options = options
  }

  /** Tells the rules' functions that a connection has begun or ended. */
  announce(connection: Connection, eventType: 'connected' | 'disconnected'): void {
    const { endReason } = connection
    const reason = eventType === 'disconnected' ? { disconnectReason: endReason } : {}
    this.tell(connection, 'presence', eventType, reason)
  }

  /** Tells the rules' functions that a client has subscribed, or that its session has brought subscriptions. */
  announceSubscribed(connection: Connection, topics: readonly string[]): void {
    if (topics.length > 0) this.tell(connection, 'subscriptions', 'subscribed', { topics })
  }

  private tell(connection: Connection, what: string, eventType: string, more: object): void {
    const { closing, rules } = this.options
    // Presence is reset when the next broker starts, so a closing broker need not announce its disconnects.
    if (closing.aborted) return
    const topic = `$aws/events/${what}/${eventType}/${connection.client.id}`
    const matching = rules.filter((rule) => rule.matches(topic))
    if (matching.length === 0) return
    const message = this.messageOf(connection, eventType, topic, more)
    for (const rule of matching) {
      const announced = this.call(rule, message).finally(() => this.announcing.delete(announced))
      this.announcing.add(announced)
    }
  }

  /** Resolves when every event under way was accepted or given up. */
  async settled(): Promise<void> {
    await Promise.all(this.announcing)
  }

  private messageOf(connection: Connection, eventType: string, topic: string, more: object) {
    const { client, principalId, session } = connection
    const timestamp = Date.now()
    const event = {
      clientId: client.id,
      timestamp,
      eventType,
      sessionIdentifier: session.id,
      principalIdentifier: principalId,
      versionNumber: session.version,
      ...more,
    }
    return {
      topic,
      payload: Buffer.from(JSON.stringify(event)),
      clientId: client.id,
      receivedAt: timestamp,
      messageId: this.options.nextMessageId(),
    }
  }

  private async call(rule: TopicRule, message: Parameters<TopicRule['event']>[0]): Promise<void> {
    const { closing, invoke, log } = this.options
    await pRetry(() => invoke(rule.functionName, rule.event(message)), {
      ...retries,
      signal: closing,
      onFailedAttempt: ({ error, retriesLeft }) => {
        // Presence is reset when the next broker starts: a line for each of thousands of clients would say nothing.
        if (closing.aborted) return
        log(retriesLeft === 0 ? 'error' : 'warn', 'mqtt lifecycle event not accepted', {
          topic: message.topic,
          error,
        })
      },
    }).catch(() => undefined)
  }
}
