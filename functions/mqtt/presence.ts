/** By rule from the status topics and from the broker's lifecycle events: who is there. */
import * as z from 'zod'
import { onEvent } from '../../lib/built.ts'
import type { Sessions } from '../../lib/commands/sessions.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import type { Presence } from '../../lib/devices/presence.ts'
import { AppError } from '../../lib/errors.ts'
import { decodeJson } from '../../lib/json.ts'
import type { Log } from '../../lib/log.ts'
import { parseDeviceTopic } from '../../lib/mqtt/topics.ts'
import * as runtime from '../../lib/runtime.ts'

/** What the rules select of a message. */
export interface PresenceEvent {
  /** Base64. */
  readonly payload: string
  readonly topic: string
  readonly client_id: string
  /** Milliseconds since the epoch. */
  readonly received_at: number
}

/** What AWS IoT Core publishes on `$aws/events/presence/…`; the user name is the device's id here. */
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
  devices: Pick<Devices, 'find' | 'seen' | 'credentials'>
  presence: Presence
  sessions: Sessions
}

const clientDevice = /^(?:iotflow-device-|device_)?([1-9]\d{0,14})(?:[-_].*)?$/s

export const recordPresence = ({ log, devices, presence, sessions }: Deps) => {
  const isAllowed = async (deviceId: number): Promise<boolean> => {
    const device = await devices.find(deviceId)
    if (device === undefined || device.status === 'inactive') return false
    const now = Date.now()
    return (await devices.credentials(deviceId)).some(
      ({ revokedAt, expiresAt }) => revokedAt === null && (expiresAt === null || expiresAt > now),
    )
  }

  const lifecycle = async (payload: unknown) => {
    const parsed = Lifecycle.safeParse(payload)
    const deviceId = Number(clientDevice.exec(parsed.data?.clientId ?? '')?.[1] ?? Number.NaN)
    if (!parsed.success || Number.isNaN(deviceId)) return
    const { clientId, eventType: kind, timestamp: at, sessionIdentifier: sessionId } = parsed.data
    const { versionNumber: version, disconnectReason: reason } = parsed.data
    await presence.session({ deviceId, clientId, sessionId, version, kind, at, reason })
    // It was let in, and then lost the right while it was being connected: nobody else would notice.
    if (kind === 'connected' && !(await isAllowed(deviceId))) await sessions.end(deviceId, clientId)
  }

  return async (event: PresenceEvent): Promise<void> => {
    const { topic, client_id: clientId, received_at: at } = event
    const payload = Buffer.from(event.payload, 'base64')
    try {
      if (topic.startsWith('$aws/events/presence/')) return await lifecycle(decodeJson(payload))
      const { deviceId, kind, subtopic } = parseDeviceTopic(topic) ?? {}
      if (deviceId === undefined || kind !== 'status') return
      // A will of a client that is gone is no sign of life; everything else that it sends is.
      if (subtopic !== 'offline') devices.seen(deviceId)
      if (subtopic === 'heartbeat' || payload.length === 0) return
      const status = subtopic === 'offline' ? 'offline' : 'online'
      await presence.report({ deviceId, clientId, status, at })
    } catch (error) {
      if (!(error instanceof AppError) || error.code !== 'MALFORMED_JSON') throw error
      log.warn('presence event without JSON left out', { topic })
    }
  }
}

export const handler = onEvent(async () =>
  recordPresence({
    log: runtime.log(),
    devices: await runtime.devices(),
    presence: await runtime.presence(),
    sessions: await runtime.sessions(),
  }),
)
