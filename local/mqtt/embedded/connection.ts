/** One connection of a client to the embedded broker, from its first byte to its end. */
import { randomUUID } from 'node:crypto'
import type { Duplex } from 'node:stream'
import type { AedesPublishPacket, Client, ConnectPacket } from 'aedes'
import { generate } from 'mqtt-packet'
import type { AuthorizerEvent, AuthorizerResult } from '../../../lib/mqtt/authorizer.ts'
import type { Policy } from '../../../lib/mqtt/policy.ts'
import { topicMatcher } from '../../../lib/mqtt/topics.ts'
import {
  containErrors,
  disableDuplicateDetection,
  inheritNoSubscriptions,
  onParsedPacket,
  type ParsedPacket,
  readNextPackets,
  refreshKeepAlive,
  subscriptionIdentifiers,
  subscriptionsOf,
  takePacketId,
} from './aedes-internals.ts'
import { commandOf } from './commands.ts'
import { DeliveryWindow } from './delivery-window.ts'
import { type PlainPublish, readPlainPublish } from './direct-publish.ts'
import type { FlowControl, MessageSource, Throttle } from './flow-control.ts'
import { type BrokerLog, inflightWindow, maxSubscriptions, reasonCodes } from './options.ts'
import { type GuardLimits, PacketGuard } from './packet-guard.ts'
import type { PendingMessage, PublishDecision } from './publishing.ts'
import type { Peer } from './transports.ts'

/** Bytes that a client may leave unread before its own packets wait. */
const unreadBytes = 65_536
/** Topics per connection whose decisions are remembered, and characters of the longest one. */
const [rememberedTopics, rememberedLength] = [64, 256]
/** Receive Maximum of a client that names none (MQTT 5, 3.1.2.11.3). */
const defaultReceiveMaximum = 65_535
/** Deliveries per connection that are remembered, to recognise a second one of the same message. */
const rememberedDeliveries = 32
/** Commands per connection whose confirmations are waited for. */
const maxUnconfirmed = 1000
/**
 * Longest time until the authorizer is asked again, s: a revoked or expired key ends its connection within it. AWS IoT Core
 * waits at least 300 s.
 */
const longestRefreshS = 45

/** Parts of the broker that every connection uses. */
export interface ConnectionContext {
  readonly guardLimits: GuardLimits
  readonly flowControl: FlowControl
  readonly throttle: Throttle
  readonly log: BrokerLog
  /** Hands the stream to aedes. */
  handle(stream: Duplex): Client
  /** Id of the broker in aedes. */
  readonly brokerId: string
  onTraffic(principalId: string): void
  /** Called for a message that does not pass through aedes. */
  onPublish(client: Client, packet: PlainPublish): void
  /** Called when a client has confirmed that it has a command. */
  onCommandReceived(deviceId: number, commandId: string): void
  /** Called once, when the stream is closed. */
  onClose(connection: Connection): void
}

/** The part of a CONNECT that admission decides about. */
export interface ConnectRequest {
  readonly clientId: string
  /** The broker has chosen the client id. */
  readonly isAssigned: boolean
  /** An earlier session of this client id may be resumed, or the session may outlive the connection. */
  readonly usesSession: boolean
  /** The session outlives the connection. */
  readonly isPersistent: boolean
  readonly will: ConnectPacket['will'] | undefined
}

const afterSeconds = (seconds: number): number =>
  seconds > 0 ? Date.now() + seconds * 1000 : Number.POSITIVE_INFINITY

/** Remembers a decision about a topic. A full cache is emptied: devices use few topics. */
const remember = <Value>(cache: Map<string, Value>, topic: string, decision: Value): void => {
  if (topic.length > rememberedLength) return
  if (cache.size >= rememberedTopics) cache.clear()
  cache.set(topic, decision)
}

/** mqtt-packet lets properties pass that are sent several times or cut short, and aedes relies on it that they are not. */
const areValid = (properties: object | undefined): boolean =>
  Object.entries(properties ?? {}).every(
    ([name, value]) => value !== null && (!Array.isArray(value) || name === 'userProperties'),
  )

/** A client sends Subscription Identifiers only when it subscribes. */
const hasValidProperties = ({ cmd, properties, will }: ParsedPacket): boolean =>
  areValid(properties) &&
  areValid(will?.properties) &&
  (cmd === 'subscribe' || properties?.subscriptionIdentifier === undefined)

export class Connection implements MessageSource {
  readonly id: string
  readonly stream: Duplex
  readonly peer: Peer
  readonly protocols: NonNullable<AuthorizerEvent['protocols']>
  readonly guard: PacketGuard
  readonly client: Client
  /** Names this connection in its lifecycle events; a later connection has a higher version. */
  readonly session: { readonly id: string; readonly version: number }
  /** Messages in progress, in the order of their arrival. */
  readonly pending: PendingMessage[] = []
  connect: ConnectRequest | undefined
  /** Empty until the client is authenticated. */
  principalId = ''
  /** Undefined until the client is authenticated. */
  policy: Policy | undefined
  /** What the authorizer was asked at CONNECT, to ask again. */
  authorizerEvent: AuthorizerEvent | undefined
  /** Time at which the authorizer is asked again, ms since the epoch. */
  refreshAt = Number.POSITIVE_INFINITY
  /** Time at which the connection ends, ms since the epoch. */
  endsAt = Number.POSITIVE_INFINITY
  /** Why it ended, in the words of AWS IoT Core; undefined until something is known. */
  endReason: string | undefined
  /** The client has its CONNACK. */
  ready = false
  /** The stream is closed. */
  gone = false
  /** Messages that were handed to aedes' parser and have not come out of it. */
  released = 0
  /** Undefined when the client has not limited it. */
  window: DeliveryWindow | undefined
  private readonly context: ConnectionContext
  private readonly publishDecisions = new Map<string, PublishDecision>()
  private readonly receiveDecisions = new Map<string, boolean>()
  /** Topic filters of the subscriptions that were granted. */
  private readonly granted = new Set<string>()
  /** Commands that the client has not confirmed, by packet id. */
  private readonly unconfirmed = new Map<number, NonNullable<ReturnType<typeof commandOf>>>()
  /** aedes' numbers of the last deliveries. */
  private readonly deliveries: number[] = []
  /** Messages that do not pass through aedes, in the order of their arrival. */
  private direct: PlainPublish[] = []

  constructor(
    stream: Duplex,
    peer: Peer,
    protocols: NonNullable<AuthorizerEvent['protocols']>,
    context: ConnectionContext,
    version: number,
  ) {
    this.id = `${process.pid}-${version}`
    this.session = { id: randomUUID(), version }
    this.stream = stream
    this.peer = peer
    this.protocols = protocols
    this.context = context
    this.guard = new PacketGuard(stream, context.guardLimits, {
      breach: (reason, code) => this.drop(this.policy ? 'warn' : 'debug', reason, code),
      ready: () => this.requestTurn(),
      take: (bytes) => this.take(bytes),
    })
    stream.on('drain', () => this.requestTurn())
    stream.once('close', () => context.onClose(this))
    this.client = context.handle(stream)
    disableDuplicateDetection(this.client, context.brokerId)
    onParsedPacket(this.client, (packet) => this.onPacket(packet))
    containErrors(this.client)
    inheritNoSubscriptions(this.client)
  }

  waiting(): boolean {
    return this.guard.waiting()
  }

  room(): number {
    const inProgress = this.released + this.pending.length
    // At least half a window is free before the next packets are released, so that they come in groups.
    if (!this.ready || inProgress > inflightWindow / 2 || this.stream.writableLength > unreadBytes) return 0
    return this.context.throttle.isFull(this.principalId) ? 0 : inflightWindow - inProgress
  }

  release(packets: number): number {
    const messages = this.guard.release(packets)
    if (this.gone) return 0
    readNextPackets(this.client)
    this.released += messages
    for (const packet of this.direct.splice(0)) if (!this.client.closed) this.publishDirectly(packet)
    return messages
  }

  /** Takes a message whose topic is known, unless it would overtake one that aedes has. @returns its bytes, 0 for none. */
  private take(bytes: Buffer): number {
    if (this.released > 0) return 0
    const packet = readPlainPublish(bytes, this.client.version, this.context.guardLimits.publishBytes)
    if (packet === undefined || !this.publishDecisions.get(packet.topic)?.rules.length) return 0
    this.direct.push(packet)
    return packet.size
  }

  private publishDirectly(packet: PlainPublish): void {
    refreshKeepAlive(this.client)
    this.context.onTraffic(this.principalId)
    try {
      this.context.onPublish(this.client, packet)
    } catch (error) {
      this.client.emit('error', error)
    }
  }

  /** Asks flow control for a turn when packets are waiting. */
  requestTurn(): void {
    if (this.ready && this.guard.waiting()) this.context.flowControl.request(this)
  }

  /**
   * Gives the connection its rights, and the times at which they are checked again and end. The same policy again keeps what was
   * decided by it: to compile one and decide anew takes 0.1 ms, for each connection every 45 s.
   */
  grant(result: AuthorizerResult, policy: Policy): void {
    if (policy !== this.policy) {
      this.policy = policy
      this.publishDecisions.clear()
      this.receiveDecisions.clear()
    }
    this.refreshAt = afterSeconds(Math.min(result.refreshAfterInSeconds, longestRefreshS))
    this.endsAt = afterSeconds(result.disconnectAfterInSeconds)
  }

  /** The decision about a publish to this topic; undefined before authentication. */
  publishDecision(
    topic: string,
    decide: (policy: Policy, topic: string) => PublishDecision,
  ): PublishDecision | undefined {
    const { policy } = this
    if (policy === undefined) return undefined
    let decision = this.publishDecisions.get(topic)
    if (decision === undefined) {
      decision = decide(policy, topic)
      remember(this.publishDecisions, topic, decision)
    }
    return decision
  }

  /** Decides about a subscription, and counts it when it is granted. */
  subscribe(filter: string): boolean {
    if (this.policy?.subscribe(filter) !== true) return false
    if (this.granted.size >= maxSubscriptions && !this.granted.has(filter)) return false
    this.granted.add(filter)
    return true
  }

  /** The QoS with which the client gets this message, which has QoS 1; undefined when it does not get it. */
  receivingQos(packet: AedesPublishPacket): number | undefined {
    const matching = subscriptionsOf(this.client).filter(([filter]) => topicMatcher(filter)(packet.topic))
    if (matching.length === 0 || !this.mayReceive(packet)) return undefined
    // Of several subscriptions, that to exactly the topic counts for aedes.
    const [, exact] = matching.find(([filter]) => filter === packet.topic) ?? []
    return exact ?? Math.max(...matching.map(([, qos]) => qos))
  }

  /** Called when the client is authenticated, before messages are sent to it. */
  limitDeliveries(): void {
    if (this.client.receiveMaximum < defaultReceiveMaximum)
      this.window = new DeliveryWindow(this.client, (packet) => this.mayReceive(packet))
  }

  /** Decides whether this message is delivered to the client: it may receive it, and has not got it before. */
  deliver(packet: AedesPublishPacket): boolean {
    if (!this.mayReceive(packet)) return false
    // Only new messages can arrive twice: retained ones carry no broker id, those of a resumed session a packet id.
    const isNew = packet.brokerId && packet.messageId === undefined
    if (isNew && !this.isFirstDelivery(packet.brokerCounter)) return false
    if (this.client.version === 5) this.addIdentifiers(packet)
    this.window?.count(packet)
    this.awaitConfirmation(packet)
    return true
  }

  /** Gives a command its packet id, by which the PUBACK of the client is recognised. */
  private awaitConfirmation(packet: AedesPublishPacket): void {
    const command = commandOf(packet)
    if (command === undefined || packet.qos === 0 || packet.messageId !== undefined) return
    packet.messageId = takePacketId(this.client)
    const [oldest] = this.unconfirmed.keys()
    if (oldest !== undefined && this.unconfirmed.size >= maxUnconfirmed) this.unconfirmed.delete(oldest)
    this.unconfirmed.set(packet.messageId, command)
  }

  private confirm(packetId: number): void {
    const command = this.unconfirmed.get(packetId)
    if (command === undefined) return
    this.unconfirmed.delete(packetId)
    this.context.onCommandReceived(command.deviceId, command.commandId)
  }

  /** A message is sent once, with the identifiers of all its subscriptions. aedes adds that of one subscription. */
  private addIdentifiers(packet: AedesPublishPacket): void {
    const matching = subscriptionIdentifiers(this.client).filter(([filter]) =>
      topicMatcher(filter)(packet.topic),
    )
    if (matching.length === 0) return
    const subscriptionIdentifier = matching.map(([, identifier]) => identifier)
    packet.properties = { ...packet.properties, subscriptionIdentifier }
  }

  private mayReceive(packet: AedesPublishPacket): boolean {
    const { policy } = this
    if (policy === undefined) return false
    let mayReceive = this.receiveDecisions.get(packet.topic)
    if (mayReceive === undefined) {
      mayReceive = policy.receive(packet.topic)
      remember(this.receiveDecisions, packet.topic, mayReceive)
    }
    return mayReceive && this.fits(packet)
  }

  /** Ends the connection and logs why. @param code tells it to an MQTT 5 client. */
  drop(level: 'debug' | 'warn', reason: string, code: number = reasonCodes.unspecified): void {
    this.endReason ??= 'SERVER_INITIATED_DISCONNECT'
    if (!this.gone) {
      const device = this.principalId === '' ? undefined : this.principalId
      this.context.log(level, 'mqtt connection ended', { connection: this.id, device, reason })
    }
    this.sayGoodbye(code)
    this.stream.destroy()
  }

  /** Ends the connection, so that aedes takes no more packets from now on. @param code tells why to an MQTT 5 client. */
  close(code: number): Promise<void> {
    this.sayGoodbye(code)
    return new Promise((resolve) => this.client.close(() => resolve()))
  }

  /** Ends the stream after its last bytes have left. @param code tells why to an MQTT 5 client. */
  finish(code: number): void {
    this.sayGoodbye(code)
    this.stream.end()
  }

  /** Sends a DISCONNECT to an MQTT 5 client; earlier versions know none from the server. */
  private sayGoodbye(reasonCode: number): void {
    if (!this.ready || this.client.version !== 5 || !this.stream.writable) return
    this.stream.write(generate({ cmd: 'disconnect', reasonCode }, { protocolVersion: 5 }))
  }

  /** True when the message is not larger than the client accepts (MQTT 5). */
  private fits(packet: AedesPublishPacket): boolean {
    const { maximumPacketSize } = this.client
    if (maximumPacketSize === undefined) return true
    const longest = { ...packet, cmd: 'publish', messageId: 1 } as const
    return generate(longest, { protocolVersion: 5 }).length <= maximumPacketSize
  }

  /** @returns whether aedes may handle the packet. */
  private onPacket(packet: ParsedPacket): boolean {
    if (!hasValidProperties(packet)) {
      this.drop('warn', 'a packet has properties that it must not have', reasonCodes.protocolError)
      return false
    }
    for (const filter of packet.unsubscriptions ?? []) this.granted.delete(filter)
    if (this.ready) this.context.onTraffic(this.principalId)
    if (packet.cmd === 'puback' && packet.messageId !== undefined) this.confirm(packet.messageId)
    this.window?.onPacket(packet)
    return true
  }

  /** Overlapping subscriptions deliver one message several times. */
  private isFirstDelivery(counter: number): boolean {
    if (this.deliveries.includes(counter)) return false
    this.deliveries.push(counter)
    if (this.deliveries.length > rememberedDeliveries) this.deliveries.shift()
    return true
  }
}
