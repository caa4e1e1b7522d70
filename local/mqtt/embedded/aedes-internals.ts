/**
 * The only file that uses members which aedes keeps private. package.json pins the version of aedes exactly, and
 * `aedes-internals.test.ts` fails when that version or one of these members changes.
 */
import type { Aedes, AedesPublishPacket, Client } from 'aedes'

/** Version of aedes for which the members below were checked. */
export const checkedAedesVersion = '2.0.0-beta.1'

/** Private members of aedes' client that this broker reads or writes. */
export interface AedesInternals {
  /** mqtt-packet's parser of this connection. */
  readonly _parser: NodeJS.EventEmitter & { parse(bytes: Buffer): number }
  /** Number of parsed packets that aedes has not finished; aedes reads on when it is 0. */
  _parsingBatch: number
  /** Number of the last message that was delivered, by broker id. */
  readonly duplicates: object
  /** The will that is published when the connection is lost. */
  will: unknown
  /** The client id that CONNACK tells an MQTT 5 client, when the broker has chosen it. */
  _assignedClientId: string | undefined
  /** Version of MQTT: aedes ends the sessions of version 5 when their connections end. */
  version: number
  /** Sends a message with QoS 0. */
  deliver0: Deliver
  /** Sends a message with its QoS, or with that of the subscription to exactly its topic. */
  deliverQoS: Deliver
  /** By topic filter. `si` is the Subscription Identifier of MQTT 5. */
  subscriptions: Readonly<Record<string, { readonly qos: number; readonly si?: number } | undefined>>
  /** The connection has no session. */
  clean: boolean
  /** True after a DISCONNECT packet. */
  readonly _disconnected: boolean
  /** The packet id of the next message to the client that has none yet, 1–65535. */
  _nextId: number
  /** Time until the timer ends, ms; not above 0 for a client without a keep alive. */
  readonly _keepaliveInterval: number
  /** Ends the connection of a client that has sent nothing for this time; null for a client without a keep alive. */
  readonly _keepaliveTimer: NodeJS.Timeout | null
}

/** Private members of aedes itself. */
interface BrokerInternals {
  /** Listeners by topic filter: a client has one for each of its subscriptions. */
  readonly mq: { readonly _matcher: { match(topic: string): readonly unknown[] } }
  readonly clients: Record<string, Client>
  publish(packet: AedesPublishPacket, client: Client, done: () => void): void
  /** Ends the wait for the will of a client that is gone: it is not published. */
  clearDelayedWill(clientId: string): void
  /** Ends the wait for the end of a session. */
  clearSessionExpiry(clientId: string): void
}

type Deliver = (packet: AedesPublishPacket, done: () => void) => void

/** Properties of MQTT 5. One that is sent several times is an array, and one that is malformed can be null. */
type Properties = Readonly<Record<string, unknown>>

/** A packet as aedes' parser emits it. */
export interface ParsedPacket {
  readonly cmd: string
  readonly messageId?: number
  /** Of MQTT 5. */
  readonly reasonCode?: number
  readonly properties?: Properties
  /** Topic filters of an UNSUBSCRIBE. */
  readonly unsubscriptions?: readonly string[]
  readonly will?: { readonly properties?: Properties } | null
}

const internals = (client: Client) => client as unknown as AedesInternals
const brokerInternals = (aedes: Aedes) => aedes as unknown as BrokerInternals

/**
 * Lets aedes read the next bytes although messages are in progress: otherwise one message that the throttle holds back
 * would keep the places of all messages behind it.
 */
export function readNextPackets(client: Client): void {
  internals(client)._parsingBatch = 0
}

/**
 * Turns off aedes' own detection of duplicates. aedes takes a message with a lower number than the last delivered one for a
 * duplicate, but messages overtake each other inside it. `Connection.isFirstDelivery` decides instead.
 */
export function disableDuplicateDetection(client: Client, brokerId: string): void {
  Object.defineProperty(internals(client).duplicates, brokerId, { get: () => 0, set: () => {} })
}

/** Calls the listener for each packet of the client, before aedes handles it. aedes handles those for which it returns true. */
export function onParsedPacket(client: Client, listener: (packet: ParsedPacket) => boolean): void {
  internals(client)._parser.prependListener('packet', (packet: { cmd: string } & ParsedPacket) => {
    // aedes ends a connection that sends an unknown packet.
    if (!listener(packet)) packet.cmd = 'refused'
  })
}

/** Ends the connection when aedes fails at one of its packets. It would end the process: nothing else catches the error. */
export function containErrors(client: Client): void {
  const { _parser: parser } = internals(client)
  const parse = parser.parse.bind(parser)
  parser.parse = (bytes) => {
    try {
      return parse(bytes)
    } catch (error) {
      client.emit('error', error)
      return 0
    }
  }
}

/**
 * Makes the client know no subscriptions but its own. aedes would find `constructor`, which every object inherits, and an
 * UNSUBSCRIBE for it would end the process.
 */
export function inheritNoSubscriptions(client: Client): void {
  internals(client).subscriptions = Object.create(null)
}

/** A delivery of aedes: `deliver` carries it out, and `done` tells aedes that it may go on. */
type Interceptor = (deliver: (done: () => void) => void, done: () => void) => void

/** Lets a listener decide when aedes sends messages to the client: those that it acknowledges, and those that it does not. */
export function interceptDeliveries(
  client: Client,
  { acknowledged, unacknowledged }: { acknowledged: Interceptor; unacknowledged: Interceptor },
): void {
  const own = internals(client)
  const { deliver0, deliverQoS } = own
  own.deliver0 = (packet, done) => unacknowledged((isDone) => deliver0(packet, isDone), done)
  own.deliverQoS = (packet, done) => {
    // aedes passes messages with QoS 0 on to `deliver0`.
    if (packet.qos === 0) return deliverQoS(packet, done)
    const isLowered = own.subscriptions[packet.topic]?.qos === 0
    const intercept = isLowered ? unacknowledged : acknowledged
    return intercept((isDone) => deliverQoS(packet, isDone), done)
  }
}

/** Removes the will, so that aedes does not publish it. */
export function discardWill(client: Client): void {
  internals(client).will = undefined
}

/** Removes the will of a client that is gone, which aedes would publish after its delay. */
export function discardDelayedWill(aedes: Aedes, clientId: string): void {
  brokerInternals(aedes).clearDelayedWill(clientId)
}

/** Removes what aedes keeps until a session and its delayed will are due: the whole client. */
export function forgetSession(aedes: Aedes, clientId: string): void {
  brokerInternals(aedes).clearSessionExpiry(clientId)
  discardDelayedWill(aedes, clientId)
}

/** Makes CONNACK tell the client its id. */
export function announceClientId(client: Client): void {
  internals(client)._assignedClientId = client.id
}

/**
 * Makes the client use its session. aedes would drop the messages of a session that an MQTT 5 client resumes and that ends with
 * the connection.
 */
export function useSession(client: Client): void {
  internals(client).clean = false
}

/** The identifiers of the subscriptions of an MQTT 5 client, by topic filter. */
export function subscriptionIdentifiers(client: Client): [filter: string, identifier: number][] {
  return Object.entries(internals(client).subscriptions).flatMap(([filter, subscription]) =>
    subscription?.si === undefined ? [] : [[filter, subscription.si]],
  )
}

/** A packet id for a message to the client: aedes gives one of its own to a message that has none. */
export function takePacketId(client: Client): number {
  const own = internals(client)
  const id = own._nextId
  own._nextId = id >= 65_535 ? 1 : id + 1
  return id
}

/** The subscriptions of a client, with their QoS. */
export function subscriptionsOf(client: Client): [filter: string, qos: number][] {
  return Object.entries(internals(client).subscriptions).flatMap(([filter, subscription]) =>
    subscription === undefined ? [] : [[filter, subscription.qos]],
  )
}

/** True when the client has ended the connection with a DISCONNECT packet. */
export function hasDisconnected(client: Client): boolean {
  return internals(client)._disconnected
}

/**
 * Puts a client back into aedes' table. aedes removes clients by their id: when a device reconnects before its old
 * connection is cleaned up, aedes removes the new one, and ends its session.
 */
export function restoreClient(aedes: Aedes, client: Client, old: Client): void {
  brokerInternals(aedes).clients[client.id] = client
  // aedes ends no session of an earlier version.
  internals(old).version = 4
}

/** Whether a connected client, or a part of aedes, listens to a topic. */
export function hasListeners(aedes: Aedes, topic: string): boolean {
  return brokerInternals(aedes).mq._matcher.match(topic).length > 0
}

/** Notes that the client has sent a packet which aedes does not see. */
export function refreshKeepAlive(client: Client): void {
  const { _keepaliveInterval: interval, _keepaliveTimer: timer } = internals(client)
  if (interval > 0) timer?.refresh()
}

/** Publishes a message of a client that is acknowledged, as aedes does; its failure concerns nobody any more. */
export function publishInAedes(aedes: Aedes, client: Client, packet: AedesPublishPacket): void {
  brokerInternals(aedes).publish(packet, client, () => undefined)
}
