/** Events in the words that operators read: their type, and why a device went online or offline. */
import type { DeviceEvent, eventKinds } from './events.ts'

type Kind = (typeof eventKinds)[number]

/** The type of an event, by which other systems tell it: `device.offline`. */
export const eventType = <K extends Kind>(kind: K): `device.${K}` => `device.${kind}`

/** Reasons of AWS IoT Core for the end of a session, which the embedded broker gives too. */
const sessionEnds: Readonly<Record<string, string>> = {
  API_INITIATED_DISCONNECT: 'the server ended the session',
  AUTH_ERROR: 'the broker ended the session: no right to connect',
  CLIENT_ERROR: 'the broker ended the session: the device broke the protocol',
  CLIENT_INITIATED_DISCONNECT: 'the device disconnected',
  CONNECTION_LOST: 'the connection was lost',
  CUSTOMAUTH_TTL_EXPIRATION: 'the broker ended the session: its longest time was over',
  DUPLICATE_CLIENTID: 'another connection took the client id over',
  FORBIDDEN_ACCESS: 'the broker ended the session: a topic that the device may not use',
  MQTT_KEEP_ALIVE_TIMEOUT: 'the broker ended the session: keep alive',
  SERVER_ERROR: 'the broker ended the session: an error of its own',
  SERVER_INITIATED_DISCONNECT: 'the broker ended the session',
  THROTTLED: 'the broker ended the session: too many messages',
  WEBSOCKET_TTL_EXPIRATION: 'the broker ended the session: its longest time was over',
}

const sessionEnd = (reason: unknown): string => {
  if (typeof reason !== 'string') return 'the session ended'
  return sessionEnds[reason] ?? `the session ended: ${reason}`
}

/** Why a device went online or offline; undefined for events of other kinds. */
export function reasonOf({ kind, detail }: Pick<DeviceEvent, 'kind' | 'detail'>): string | undefined {
  if (kind !== 'online' && kind !== 'offline') return undefined
  switch (detail?.by) {
    case 'broker':
      return kind === 'online' ? 'a session began' : sessionEnd(detail.reason)
    case 'device':
      return 'status message'
    case 'traffic':
      return 'a message came'
    case 'silence':
      return `no message for ${detail.silent_s} s, limit ${detail.limit_s}`
    case 'admin':
      return 'the device was made inactive'
    default:
      return undefined
  }
}
