/**
 * The embedded MQTT broker: aedes, restricted to what AWS IoT Core allows. This file composes its parts: transports → packet
 * guard → connection → authentication → publishing, with flow control between them.
 */
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { Aedes, type AedesPublishPacket, type Client } from 'aedes'
import pTimeout from 'p-timeout'
import type { Published } from '../../../lib/broker/messenger.ts'
import type { AuthorizerEvent } from '../../../lib/mqtt/authorizer.ts'
import { maxClientIdLength } from '../../../lib/mqtt/client-ids.ts'
import { isTopicName } from '../../../lib/mqtt/topics.ts'
import {
  discardDelayedWill,
  discardWill,
  forgetSession,
  restoreClient,
  subscriptionsOf,
} from './aedes-internals.ts'
import { Authentication, LoginFailures, SessionOwners } from './authentication.ts'
import { commandOf } from './commands.ts'
import type { Connection, ConnectionContext } from './connection.ts'
import { ConnectionTable } from './connection-table.ts'
import { DirectPublishing } from './direct-publish.ts'
import { FlowControl, Throttle } from './flow-control.ts'
import { Handshakes } from './handshakes.ts'
import { Lifecycle } from './lifecycle.ts'
import {
  type Broker,
  type BrokerLimits,
  type BrokerMessage,
  type BrokerOptions,
  controlBytes,
  defaultLimits,
  fixedHeaderBytes,
  inflightWindow,
  maxTopicAliases,
  publishHeaderBytes,
  reasonCodes,
  reasonOf,
} from './options.ts'
import { BrokerPersistence } from './persistence.ts'
import { Publishing } from './publishing.ts'
import { TimeLimits } from './time-limits.ts'
import { type Peer, Transports } from './transports.ts'

/** A client that does not read at all is disconnected after this time, ms. */
const drainTimeoutMs = 20_000
/** Longest wait of `publish` for a client that does not read, ms. */
const publishWaitMs = 2000
/** Time that messages in progress get when the broker closes, ms. */
const closeWaitMs = 3000
/** Time for the last bytes to leave, and for the last lifecycle events, when the broker closes, ms. */
const farewellMs = 250

/** @throws {Error} one sentence when a port is taken or the certificate cannot be used. */
export async function startBroker(options: BrokerOptions): Promise<Broker> {
  const broker = new EmbeddedBroker(options)
  await broker.start()
  return broker
}

class EmbeddedBroker implements Broker {
  private readonly options: BrokerOptions
  private readonly limits: BrokerLimits
  private readonly closing = new AbortController()
  private readonly connections = new ConnectionTable()
  private readonly handshakes = new Handshakes()
  private readonly persistence: BrokerPersistence
  private readonly flowControl: FlowControl
  private readonly throttle: Throttle
  private readonly failures: LoginFailures
  private readonly sessions: SessionOwners
  private readonly authentication: Authentication
  private readonly publishing: Publishing
  private readonly lifecycle: Lifecycle
  private readonly transports: Transports
  private readonly aedes: Aedes
  private readonly context: ConnectionContext
  private timeLimits: TimeLimits | undefined
  private closed: Promise<void> | undefined

  constructor(options: BrokerOptions) {
    const { log } = options
    const {
      connections,
      closing: { signal: closing },
    } = this
    const limits: BrokerLimits = { ...defaultLimits, ...options.limits }
    this.options = options
    this.limits = limits
    this.flowControl = new FlowControl(limits)
    this.failures = new LoginFailures(limits.authFailuresPerMinutePerIp)
    this.persistence = new BrokerPersistence({
      mayStore: (client, filter) => this.maySubscribe(client, filter),
      mayReceive: (clientId, packet) => this.mayReceive(clientId, packet),
      handshakes: this.handshakes,
      windowOf: (client) => connections.of(client as Client)?.window,
    })
    this.sessions = new SessionOwners(
      this.persistence,
      (clientId) => connections.withClientId(clientId) !== undefined,
      (clientId) => forgetSession(this.aedes, clientId),
    )
    this.throttle = new Throttle({
      count: options.throttle,
      flowControl: this.flowControl,
      closing,
      roomAgain: (principalId) => this.requestTurns(principalId),
      log,
    })
    this.lifecycle = new Lifecycle({ ...options, closing })
    this.publishing = new Publishing({
      broker: options,
      limits,
      connections,
      flowControl: this.flowControl,
      throttle: this.throttle,
      handshakes: this.handshakes,
      closing,
    })
    this.transports = new Transports({
      broker: options,
      limits,
      isRefused: (address) => closing.aborted || this.failures.exceeded(address),
      onStream: (stream, peer, protocols) => this.connect(stream, peer, protocols),
      log,
    })
    this.authentication = new Authentication({
      broker: options,
      connections,
      sessions: this.sessions,
      failures: this.failures,
      closing,
      log,
      onAuthenticated: ({ peer }) => this.transports.peers.authenticated(peer),
    })
    this.aedes = this.createAedes()
    this.context = this.createContext()
  }

  async start(): Promise<void> {
    await this.aedes.listen()
    this.followClients()
    const { authentication, connections, failures, limits, publishing } = this
    const { peers } = this.transports
    this.timeLimits = new TimeLimits({ limits, peers, failures, publishing, connections, authentication })
    try {
      await this.transports.open()
    } catch (error) {
      await this.close()
      throw error
    }
  }

  get port(): number | undefined {
    return this.transports.ports.mqtt
  }

  get wsPort(): number | undefined {
    return this.transports.ports.ws
  }

  get tlsPort(): number | undefined {
    return this.transports.ports.tls
  }

  connected(): number {
    return this.connections.established.size
  }

  clientsOf(principalId: string): ReadonlyMap<string, boolean> {
    const clients = new Map(this.sessions.clientsOf(principalId).map((id) => [id, false]))
    for (const connection of this.connections.all)
      if (connection.principalId === principalId) clients.set(connection.client.id, true)
    return clients
  }

  retained(topic: string): BrokerMessage | undefined {
    const found = this.persistence.retained(topic)
    return found && { topic, payload: found.payload as Buffer, qos: found.qos === 0 ? 0 : 1, retain: true }
  }

  retainedTopics(): string[] {
    return this.persistence.retainedTopics()
  }

  async publish({ payload, ...message }: BrokerMessage): Promise<Published> {
    if (this.closing.signal.aborted) throw new Error('The MQTT broker is closed.')
    if (!isTopicName(message.topic)) throw new Error('A message can be published to a topic name only.')
    const packet = { cmd: 'publish' as const, ...message, payload: Buffer.from(payload), dup: false }
    const receivers = this.receiversOf(packet as AedesPublishPacket)
    if (receivers.reached === false) return receivers
    const published = new Promise<void>((resolve, reject) => {
      this.aedes.publish(packet, (error) => (error ? reject(error) : resolve()))
    })
    await pTimeout(published, { milliseconds: publishWaitMs, fallback: () => undefined })
    return receivers
  }

  async disconnect(
    clientId: string,
    { cleanSession, preventWill }: { cleanSession: boolean; preventWill: boolean },
  ): Promise<boolean> {
    const connection = this.connections.withClientId(clientId)
    const owner = this.sessions.ownerOf(clientId)
    if (connection !== undefined) {
      connection.endReason ??= 'API_INITIATED_DISCONNECT'
      if (preventWill) discardWill(connection.client)
      await connection.close(reasonCodes.administrative)
    }
    if (preventWill) discardDelayedWill(this.aedes, clientId)
    if (cleanSession && owner !== undefined) await this.sessions.endSession(clientId, owner)
    return connection !== undefined || owner !== undefined
  }

  close(): Promise<void> {
    this.closed ??= this.end()
    return this.closed
  }

  private createAedes(): Aedes {
    const { authentication, connections, persistence, publishing } = this
    return new Aedes({
      persistence,
      // 0 is without limit: flow control limits, and here one client that does not read would stop all others.
      concurrency: 0,
      connectTimeout: this.limits.connectTimeoutMs,
      drainTimeout: drainTimeoutMs,
      queueLimit: inflightWindow,
      maxClientsIdLength: maxClientIdLength,
      topicAliasMaximum: maxTopicAliases,
      receiveMaximum: inflightWindow,
      maximumPacketSize: this.limits.maxPayloadBytes + publishHeaderBytes + fixedHeaderBytes,
      preConnect: (client, packet, callback) => authentication.preConnect(client, packet, callback),
      authenticate: (client, username, password, done) =>
        authentication.authenticate(client, username, password, done),
      authorizePublish: (client, packet, callback) => publishing.authorizePublish(client, packet, callback),
      authorizeSubscribe: (client, subscription, callback) =>
        callback(null, this.maySubscribe(client, subscription.topic) ? subscription : null),
      authorizeForward: (client, packet) => (connections.of(client)?.deliver(packet) ? packet : null),
    })
  }

  private maySubscribe(client: Client, filter: string): boolean {
    return this.connections.of(client)?.subscribe(filter) === true
  }

  private mayReceive(clientId: string, packet: AedesPublishPacket): boolean {
    const connection = this.connections.withClientId(clientId)
    if (connection === undefined && commandOf(packet) !== undefined) return false
    const policy = connection?.policy ?? this.sessions.policyOf(clientId)
    return policy?.receive(packet.topic) === true
  }

  /** The connected clients that get a command; nothing is told of other messages. */
  private receiversOf(packet: AedesPublishPacket): Published {
    const command = commandOf(packet)
    if (command === undefined) return { reached: undefined, sessions: [], isConfirmed: false }
    const receivers = this.connections.ofPrincipal(String(command.deviceId)).flatMap((connection) => {
      const receivingQos = connection.receivingQos(packet)
      return receivingQos === undefined ? [] : [{ id: connection.session.id, receivingQos }]
    })
    return {
      reached: receivers.length > 0,
      sessions: receivers.map(({ id }) => id),
      isConfirmed: packet.qos > 0 && receivers.some(({ receivingQos }) => receivingQos > 0),
    }
  }

  private requestTurns(principalId: string): void {
    for (const connection of this.connections.established)
      if (connection.principalId === principalId) connection.requestTurn()
  }

  private connect(stream: Duplex, peer: Peer, protocols: NonNullable<AuthorizerEvent['protocols']>): void {
    this.connections.open(stream, peer, protocols, this.context)
  }

  private createContext(): ConnectionContext {
    const { aedes, limits, options, persistence, publishing } = this
    const direct = new DirectPublishing({ aedes, persistence, publishing })
    return {
      guardLimits: {
        preConnectBytes: limits.preConnectBytes,
        publishBytes: limits.maxPayloadBytes + publishHeaderBytes,
        controlBytes,
      },
      flowControl: this.flowControl,
      throttle: this.throttle,
      log: options.log,
      handle: this.aedes.handle,
      brokerId: this.aedes.id,
      onTraffic: (principalId) => this.reportTraffic(principalId),
      onPublish: (client, packet) => direct.publish(client, packet),
      onCommandReceived: (deviceId, commandId) => options.onCommandReceived?.(deviceId, commandId),
      onClose: (connection) => this.onClose(connection),
    }
  }

  private reportTraffic(principalId: string): void {
    try {
      this.options.onTraffic?.(principalId)
    } catch (error) {
      this.options.log('error', 'mqtt hook failed', { device: principalId, error })
    }
  }

  private onClose(connection: Connection): void {
    this.flowControl.leave(connection.released)
    connection.released = 0
    if (this.connections.remove(connection)) this.lifecycle.announce(connection, 'disconnected')
    const { id, clean } = connection.client
    if (clean && this.connections.withClientId(id) === undefined) this.handshakes.forget(id)
  }

  /** Takes packets of the client from now on: it has its CONNACK. */
  private establish(client: Client): void {
    const connection = this.connections.of(client)
    if (connection === undefined || connection.ready || connection.gone || client.closed) return
    this.connections.establish(connection)
    this.lifecycle.announce(connection, 'connected')
    // Those that its session has brought; nothing else tells that it has them.
    this.lifecycle.announceSubscribed(
      connection,
      subscriptionsOf(client).map(([filter]) => filter),
    )
    connection.requestTurn()
  }

  /** Records whose session it is; aedes has just registered the client. */
  private claimSession(client: Client): void {
    const { connect, id, policy, principalId } = this.connections.of(client) ?? {}
    if (principalId === undefined || policy === undefined) return
    if (connect?.isPersistent !== true) this.sessions.remove(client.id, principalId)
    else
      this.sessions
        .add(client.id, principalId, policy)
        .catch((error: unknown) =>
          this.options.log('error', 'mqtt session not ended', { connection: id, error }),
        )
  }

  /** Forgets whose session it was; aedes has ended it, or is about to. */
  private releaseSession(client: Client): void {
    const { principalId } = this.connections.of(client) ?? {}
    if (principalId !== undefined) this.sessions.remove(client.id, principalId)
  }

  /** Follows aedes' events of clients. */
  private followClients(): void {
    const { aedes, connections } = this
    const { log } = this.options
    aedes.on('client', (client) => {
      connections.registered(client)
      this.claimSession(client)
    })
    aedes.on('subscribe', (subscriptions, client) => {
      const connection = connections.of(client)
      const granted = subscriptions.filter(({ qos }) => qos <= 2).map(({ topic }) => topic)
      if (connection !== undefined) this.lifecycle.announceSubscribed(connection, granted)
    })
    aedes.on('sessionExpired', (client) => this.releaseSession(client))
    aedes.on('clientReady', (client) => this.establish(client))
    // aedes calls a client ready after it has sent the messages of its session. Some wait until the client acknowledges others.
    aedes.on('connackSent', ({ reasonCode }, client) => {
      if (reasonCode === 0 && connections.of(client)?.window !== undefined) this.establish(client)
    })
    aedes.on('clientDisconnect', (client) => {
      const current = connections.withClientId(client.id)?.client
      const isReplaced = current !== undefined && current !== client && !current.closed
      if (isReplaced) restoreClient(aedes, current, client)
      else if (client.sessionExpiryInterval === 0) this.releaseSession(client)
    })
    const onFault = (client: Client, error: Error) =>
      log('debug', 'mqtt client error', { connection: connections.of(client)?.id, reason: reasonOf(error) })
    aedes.on('clientError', onFault)
    aedes.on('connectionError', onFault)
    const emitter: NodeJS.EventEmitter = aedes
    emitter.on('error', (error: unknown) => log('error', 'mqtt broker error', { error }))
  }

  private async end(): Promise<void> {
    const { aedes, connections, lifecycle, publishing, transports } = this
    this.closing.abort()
    this.timeLimits?.stop()
    this.flowControl.close()
    const stopped = transports.stopListening()
    transports.peers.closePendingSince(Number.POSITIVE_INFINITY)
    await until(() => publishing.inProgress() === 0, closeWaitMs)
    // To end a stream lets its last acknowledgements arrive; to destroy it at once would not.
    for (const connection of connections.all) connection.finish(reasonCodes.shuttingDown)
    await until(() => connections.all.size === 0, farewellMs)
    await pTimeout(lifecycle.settled(), { milliseconds: farewellMs, fallback: () => undefined })
    transports.peers.closeAll()
    await new Promise<void>((resolve) => aedes.close(resolve))
    await stopped
  }
}

/** Resolves when the condition holds, or after `ms`. */
const until = async (reached: () => boolean, ms: number): Promise<void> => {
  const deadline = Date.now() + ms
  while (!reached() && Date.now() < deadline) await sleep(5)
}
