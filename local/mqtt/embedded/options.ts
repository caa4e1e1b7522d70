/** Options and limits of the embedded MQTT broker, and what the broker offers to the rest of the server. */
import type { Published } from '../../../lib/broker/messenger.ts'
import type { AuthorizerEvent, AuthorizerResult } from '../../../lib/mqtt/authorizer.ts'
import type { TopicTree } from '../../../lib/mqtt/topics.ts'
import type { TakeMessage } from '../../../lib/telemetry/delivery.ts'
import type { TopicRule } from '../rules.ts'

export type BrokerLog = (
  level: 'debug' | 'info' | 'warn' | 'error',
  msg: string,
  fields?: Record<string, unknown>,
) => void

export interface BrokerLimits {
  /** Bytes a client may send before it is authenticated. */
  readonly preConnectBytes: number
  /** Time from the TCP connection to the end of authentication, ms. */
  readonly connectTimeoutMs: number
  /** Largest payload of a message, bytes. */
  readonly maxPayloadBytes: number
  /** Time that an authenticated client may take to complete a packet it has begun, ms. */
  readonly packetTimeoutMs: number
  /** Time that the rules' functions may take for a message; later the message counts as not stored, ms. */
  readonly invokeTimeoutMs: number
  /** Time that a message is retried while the stores are unavailable; later its sender is disconnected, ms. */
  readonly unavailableRetryMs: number
  /** Messages in progress, from all clients together. */
  readonly maxInProgress: number
  /** Time per turn of the event loop in which messages are accepted without limit, ms. */
  readonly turnMs: number
  /** Failed logins per minute and address. Above it, the address is refused until the minute is over. 0 = no limit. */
  readonly authFailuresPerMinutePerIp: number
  /** Connections that are not authenticated yet. Above it, the oldest is closed. */
  readonly maxPending: number
}

export interface BrokerOptions {
  readonly host: string
  /** Port of plain MQTT; 0 picks a free one. */
  readonly port: number | 'none'
  /** Port of MQTT over WebSocket; 0 picks a free one. */
  readonly wsPort: number | 'none'
  readonly tls?: TlsOptions
  /** `arn:<partition>:iot:<region>:<account>:` that the authorizer's policies name; the local one when undefined. */
  readonly arnPrefix?: string
  /** Called at each CONNECT and again at intervals. When it throws, the client gets "server unavailable". */
  authorize(event: AuthorizerEvent): Promise<AuthorizerResult>
  readonly rules: readonly TopicRule[]
  /** Resolves when the message is durable. When it rejects, the client gets no PUBACK and is disconnected. */
  invoke(functionName: string, event: Record<string, unknown>): Promise<void>
  /** The short way of telemetry that has one rule, beside {@link invoke}: it must do what that rule's function does. */
  readonly take?: TakeMessage
  /** Tells which device a topic belongs to; without it {@link take} is never called. */
  readonly topics?: TopicTree
  nextMessageId(): string
  /** Arrival time of a message, ms since the epoch; `Date.now` when it is not given. */
  arrival?(): number
  /**
   * Counts a message of this client. Returns 0 when the message may pass; otherwise it was not counted, and is asked for
   * again after the returned ms. No message is dropped, and a failure counts as 0.
   */
  throttle?(principalId: string): number | Promise<number>
  /** Called for each packet that arrives from this principal. */
  onTraffic?(principalId: string): void
  /** Called when a client has confirmed that it has a command. */
  onCommandReceived?(deviceId: number, commandId: string): void
  readonly log: BrokerLog
  readonly limits?: Partial<BrokerLimits>
}

export interface TlsOptions {
  readonly port: number
  /** PEM. */
  readonly cert: Buffer | string
  /** PEM. */
  readonly key: Buffer | string
}

export interface BrokerMessage {
  readonly topic: string
  readonly payload: Uint8Array | string
  readonly qos: 0 | 1
  readonly retain: boolean
  /** For receivers that speak MQTT 5. */
  readonly properties?: {
    readonly responseTopic?: string
    readonly correlationData?: Buffer
    /** Seconds. */
    readonly messageExpiryInterval?: number
  }
}

/** Reason codes of DISCONNECT, which MQTT 5 clients get. */
export const reasonCodes = {
  unspecified: 0x80,
  malformedPacket: 0x81,
  protocolError: 0x82,
  notAuthorized: 0x87,
  serverBusy: 0x89,
  shuttingDown: 0x8b,
  packetTooLarge: 0x95,
  administrative: 0x98,
  connectTimeOver: 0xa0,
} as const

export interface Broker {
  readonly port: number | undefined
  readonly wsPort: number | undefined
  readonly tlsPort: number | undefined
  /** Number of clients that are connected and authenticated. */
  connected(): number
  /** Client ids of a principal that have a connection, also an unfinished one, or a session; each with whether it is connected. */
  clientsOf(principalId: string): ReadonlyMap<string, boolean>
  /**
   * Publishes in the broker's own name. Resolves when the message is retained, queued for the sessions of offline clients
   * and written to the connected ones, or after 2 s when one of those does not read. A command goes to connected clients only.
   * @returns for a command whom it reached.
   * @throws {Error} when the topic is not a topic name or the broker is closed.
   */
  publish(message: BrokerMessage): Promise<Published>
  /** The retained message of a topic; undefined when there is none. */
  retained(topic: string): BrokerMessage | undefined
  /** Topics that have a retained message. */
  retainedTopics(): string[]
  /**
   * Closes the connection of this client id, and with `cleanSession` deletes its session.
   * @returns false when there was neither.
   */
  disconnect(clientId: string, options: { cleanSession: boolean; preventWill: boolean }): Promise<boolean>
  /**
   * Stops listening, accepts no more messages, waits up to 3 s for those in progress and closes every connection.
   * Messages that are not durable by then stay unacknowledged. Wills are not published.
   */
  close(): Promise<void>
}

export const defaultLimits: BrokerLimits = {
  preConnectBytes: 4096,
  connectTimeoutMs: 10_000,
  maxPayloadBytes: 128 * 1024,
  packetTimeoutMs: 60_000,
  invokeTimeoutMs: 30_000,
  unavailableRetryMs: 10_000,
  maxInProgress: 2000,
  turnMs: 4,
  authFailuresPerMinutePerIp: 300,
  maxPending: 5000,
}

/** Bytes that a PUBLISH may have for topic, packet id and properties, beside its payload. */
export const publishHeaderBytes = 1024
/** Largest packet that is not a PUBLISH, bytes: only SUBSCRIBE and UNSUBSCRIBE vary in length. */
export const controlBytes = 8192
/** Bytes of the largest fixed header. */
export const fixedHeaderBytes = 5
/** Messages of one connection that may be in progress: the Receive Maximum of MQTT 5. AWS IoT Core allows 100. */
export const inflightWindow = 64
/** Topics of one connection that may have an alias (MQTT 5). */
export const maxTopicAliases = 16
/** Subscriptions of one connection, as on AWS IoT Core. */
export const maxSubscriptions = 50
/** Failed logins per minute of one user name from one address. Above it, the authorizer is not asked until the minute is over. */
export const authFailuresPerMinutePerName = 20

export const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : 'unknown')
