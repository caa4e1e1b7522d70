/** Which commands the clients at AWS IoT Core have subscribed to, from its events: they arrive late, twice and in any order. */
import { sql } from 'drizzle-orm'
import { awsTopicMatcher, type DeviceTopics } from '../mqtt/topics.ts'
import type { RegistryDb } from '../registry/db.ts'
import { channels } from './command.ts'

/** A SUBSCRIBE that was granted, or an UNSUBSCRIBE. */
export interface SubscriptionEvent {
  readonly deviceId: number
  readonly clientId: string
  readonly sessionId: string
  readonly kind: 'subscribed' | 'unsubscribed'
  readonly filters: readonly string[]
  /** Milliseconds since the epoch, by the clock of the broker. */
  readonly at: number
}

/**
 * The channels of a device's commands that some of the filters match; empty text stands for `…/commands` itself.
 * As on AWS IoT Core, `a/#` does not match `a`; other brokers are not asked by channel.
 */
export function subscribedChannels(
  { commandsSubscribe: base }: DeviceTopics,
  filters: readonly string[],
): string[] {
  const matchers = filters.map(awsTopicMatcher)
  return ['', ...channels].filter((channel) => {
    const topic = channel === '' ? base : `${base}/${channel}`
    return matchers.some((matches) => matches(topic))
  })
}

/** Whether a filter is about commands at all, with `…/commands/#` for `…/commands` too. */
export const isAboutCommands = (
  { commandsSubscribe: base }: DeviceTopics,
  filters: readonly string[],
): boolean => filters.some((filter) => filter === base || filter.startsWith(`${base}/`))

const maxClients = 200

/** Records an event. @param topics of the device of the event. */
export async function recordSubscription(
  db: RegistryDb,
  topics: DeviceTopics,
  event: SubscriptionEvent,
): Promise<void> {
  const { deviceId, clientId, sessionId, kind, filters, at } = event
  const given = JSON.stringify(subscribedChannels(topics, filters))
  if (kind === 'unsubscribed') {
    await db.run(sql`delete from command_subscriptions where device_id = ${deviceId} and client_id = ${clientId}
      and session_id = ${sessionId} and since <= ${at} and channel in (select value from json_each(${given}))`)
    return
  }
  await db.batch([
    db.run(sql`insert into command_subscriptions (device_id, client_id, channel, session_id, since)
      select devices.id, ${clientId}, given.value, ${sessionId}, ${at}
      from json_each(${given}) as given join devices on devices.id = ${deviceId} where true
      on conflict do update set session_id = excluded.session_id, since = excluded.since
        where excluded.since >= command_subscriptions.since`),
    // A device may connect under a new client id each time: the oldest ones give way.
    db.run(sql`delete from command_subscriptions where device_id = ${deviceId} and client_id not in (
      select client_id from command_subscriptions where device_id = ${deviceId}
      group by client_id order by max(since) desc limit ${maxClients})`),
  ])
}
