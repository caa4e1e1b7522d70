/**
 * Called by rules for the status topics and the broker's lifecycle events: records which devices are connected. A Mosquitto
 * tells nobody of subscriptions, so that there the status of a device says that it takes commands.
 */
import * as z from 'zod'
import type { BrokerKind } from '../../lib/broker/address.ts'
import type { Sessions } from '../../lib/broker/sessions.ts'
import type { Commands } from '../../lib/commands/commands.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import type { Presence } from '../../lib/devices/presence.ts'
import { AppError } from '../../lib/errors.ts'
import { decodeJson, decodeText, withoutPadding } from '../../lib/json.ts'
import type { Log } from '../../lib/log.ts'
import type { ClientIds } from '../../lib/mqtt/client-ids.ts'
import type { TopicTree } from '../../lib/mqtt/topics.ts'
import * as runtime from '../../lib/runtime.ts'
import { webhookWaker } from '../../lib/runtime-webhooks.ts'
import { serveEvents } from '../../lib/serve.ts'
import type { Waker } from '../../lib/webhooks/waker.ts'

/** The fields of a message that the rules select. */
export interface PresenceEvent {
  /** Base64. */
  readonly payload: string
  readonly topic: string
  readonly client_id: string
  /** Milliseconds since the epoch. */
  readonly received_at: number
}

/** The event that AWS IoT Core publishes on `$aws/events/presence/…`. */
const Lifecycle = z.object({
  clientId: z.string(),
  timestamp: z.number(),
  eventType: z.enum(['connected', 'disconnected']),
  sessionIdentifier: z.string(),
  principalIdentifier: z.string(),
  versionNumber: z.number(),
  disconnectReason: z.string().optional(),
})

interface Deps {
  log: Log
  devices: Pick<Devices, 'touch'>
  presence: Presence
  sessions: Sessions
  commands: Pick<Commands, 'deliver'>
  brokerKind: BrokerKind
  topics: TopicTree
  clientIds: ClientIds
  /** Undefined where webhooks are told without it. */
  waker?: Waker | undefined
}

const Status = z.object({ status: z.string() })
const words: ReadonlySet<string> = new Set(['online', 'offline', 'heartbeat'])

/** The status that a payload tells, as `{"status":…}` or as the bare word; undefined when it tells none. */
const statusOf = (payload: Buffer): string | undefined => {
  // `trim` also takes off a byte order mark.
  const text = decodeText(withoutPadding(payload)).trim()
  let told: unknown = text
  try {
    told = JSON.parse(text)
  } catch {
    // A bare word is no JSON.
  }
  const word = Status.safeParse(told).data?.status ?? (typeof told === 'string' ? told : '')
  return words.has(word.trim().toLowerCase()) ? word.trim().toLowerCase() : undefined
}

export const recordPresence = ({
  log,
  devices,
  presence,
  sessions,
  commands,
  brokerKind,
  waker,
  ...names
}: Deps) => {
  const { topics, clientIds } = names
  const lifecycle = async (payload: unknown) => {
    const parsed = Lifecycle.safeParse(payload)
    // The events of all clients of an account come here, those of other stages too.
    const deviceId = clientIds.deviceOf(parsed.data?.clientId ?? '')
    if (!parsed.success || deviceId === undefined) return
    const { clientId, eventType: kind, timestamp: at, sessionIdentifier: sessionId } = parsed.data
    const { versionNumber: version, disconnectReason: reason } = parsed.data
    const mayConnect = await presence.session({ deviceId, clientId, sessionId, version, kind, at, reason })
    await waker?.wake()
    // A device may lose its rights while it connects: nothing else would end this session.
    if (kind === 'connected' && !mayConnect) await sessions.end(deviceId, clientId)
    // A persistent session that goes on has its subscriptions from before, and tells of none.
    if (kind === 'connected' && mayConnect && brokerKind === 'aws-iot')
      void commands.deliver([deviceId], { kind: 'subscribed', sessionId })
  }

  return async (event: PresenceEvent): Promise<void> => {
    const { topic, client_id: clientId, received_at: at } = event
    const payload = Buffer.from(event.payload, 'base64')
    try {
      if (topic.startsWith('$aws/events/presence/')) return await lifecycle(decodeJson(payload))
      const { deviceId, kind, subtopic } = topics.parse(topic) ?? {}
      if (deviceId === undefined || kind !== 'status') return
      // Where payload and topic disagree the payload counts: some devices have one topic for both, also for the will.
      const status = statusOf(payload) ?? subtopic
      // `offline` may be the will of a client that is gone, so only other messages show that the device is there.
      if (status !== 'offline') devices.touch(deviceId)
      const isHeartbeat = status === 'heartbeat' || (subtopic === 'heartbeat' && status === 'online')
      if (brokerKind === 'mosquitto' && (isHeartbeat || (status === 'online' && payload.length > 0)))
        void commands.deliver([deviceId], { kind: isHeartbeat ? 'heartbeat' : 'online' })
      if (isHeartbeat || payload.length === 0 || (status !== 'online' && status !== 'offline')) return
      await presence.report({ deviceId, clientId, status, at })
      await waker?.wake()
    } catch (error) {
      if (!(error instanceof AppError) || error.code !== 'MALFORMED_JSON') throw error
      log.warn('presence event ignored: its payload is not JSON', { topic })
    }
  }
}

export const handler = serveEvents(recordPresence, {
  devices: runtime.devices,
  presence: runtime.presence,
  sessions: runtime.sessions,
  commands: runtime.commands,
  brokerKind: runtime.brokerKind,
  topics: runtime.topics,
  clientIds: runtime.clientIds,
  waker: webhookWaker,
})
