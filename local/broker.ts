/**
 * The MQTT broker of one machine: aedes, held to what AWS IoT Core does. Clients are let in by the authorizer, every
 * step is asked of the policy it returns, and a message is acknowledged only after the rules' functions have taken it.
 */
import { randomBytes, randomUUID } from 'node:crypto'
import { createServer as createHttpServer, type IncomingMessage } from 'node:http'
import { type AddressInfo, createServer as createTcpServer, type Server, type Socket } from 'node:net'
import { type Duplex, Readable } from 'node:stream'
import { createServer as createTlsServer } from 'node:tls'
import { Aedes, type AedesPublishPacket, type Client, type ConnectPacket } from 'aedes'
import { createWebSocketStream, WebSocketServer } from 'ws'
import { AppError } from '../lib/errors.ts'
import type { AuthorizerEvent, AuthorizerResult } from '../lib/mqtt/authorizer.ts'
import { compilePolicies, type Policy } from '../lib/mqtt/policy.ts'
import { isTopicName, topicMatcher } from '../lib/mqtt/topics.ts'
import { createGate, type Door, guardPackets, limitBytes, type PacketGuard } from './packet-guard.ts'
import type { Rule, RuleMessage } from './rules.ts'
import { backlog, listenFault } from './server.ts'

export interface BrokerLimits {
  /** Bytes a client may send before it is authenticated. */
  readonly preConnectBytes: number
  /** ms from the connection to the end of authentication. */
  readonly connectTimeoutMs: number
  /** Largest payload of a message, bytes. */
  readonly packetBytes: number
  /** ms an authenticated client may take to complete a packet it has begun. */
  readonly packetTimeoutMs: number
  /** ms that functions may take for a message; after it the message counts as not stored. */
  readonly invokeTimeoutMs: number
  /** How long a message waits for room in the stores before its sender is cut off, ms. */
  readonly roomMs: number
  /** Messages under way in all, from all clients. */
  readonly maxHeld: number
  /** ms per turn of the event loop in which messages are let in freely. */
  readonly turnMs: number
  /** Wrong credentials per minute and address; more, and the address is refused for the rest of it. 0 = off. */
  readonly authFailuresPerMinutePerIp: number
  /** Connections that are not authenticated yet; above it the oldest one ends. */
  readonly maxPending: number
}

export interface BrokerOptions {
  readonly host: string
  /** Of plain MQTT; 0 picks a free one. */
  readonly port: number | 'none'
  /** Of MQTT over WebSocket; 0 picks a free one. */
  readonly wsPort: number | 'none'
  readonly tls?: { readonly port: number; readonly cert: Buffer | string; readonly key: Buffer | string }
  /** `arn:<partition>:iot:<region>:<account>:` that the authorizer's policies name; undefined: the one of a machine. */
  readonly arnPrefix?: string
  /** Asked once per CONNECT and again from time to time. When it throws the client is told that the server is unavailable. */
  authorize(event: AuthorizerEvent): Promise<AuthorizerResult>
  readonly rules: readonly Rule[]
  /** Resolves when the message is durable. When it rejects, the client gets no PUBACK and is disconnected. */
  invoke(functionName: string, event: Record<string, unknown>): Promise<void>
  nextMessageId(): string
  /** When a message arrives, ms since the epoch; the wall clock unless given. */
  arrival?(): number
  /**
   * Counts a message of this client: 0 lets it pass, else it is not counted and asked for again after so many ms.
   * Nothing is dropped; a failure counts as 0.
   */
  throttle?(principalId: string): number | Promise<number>
  /** A packet has come from this principal. */
  onTraffic?(principalId: string): void
  log(level: 'debug' | 'info' | 'warn' | 'error', msg: string, fields?: Record<string, unknown>): void
  readonly limits?: Partial<BrokerLimits>
}

export interface BrokerMessage {
  readonly topic: string
  readonly payload: Uint8Array | string
  readonly qos: 0 | 1
  readonly retain: boolean
}

export interface Broker {
  readonly port: number | undefined
  readonly wsPort: number | undefined
  readonly tlsPort: number | undefined
  /** Clients that are connected and authenticated. */
  connected(): number
  /**
   * Publishes in the broker's own name. Resolves when it is retained, queued for sessions that are away and written to
   * the clients that are there, or after 2 s when one of those does not read.
   * @throws {Error} when the topic is no topic name or the broker is closed.
   */
  publish(message: BrokerMessage): Promise<void>
  /** A retained message; undefined when there is none. */
  retained(topic: string): BrokerMessage | undefined
  /** Topics that have a retained message. */
  retainedTopics(): string[]
  /**
   * Ends the connection of this client id, and its session if that is to be clean.
   * @returns false when there was neither.
   */
  disconnect(clientId: string, options: { cleanSession: boolean; preventWill: boolean }): Promise<boolean>
  /**
   * Stops listening, takes no more messages, waits up to 3 s for those under way and ends every connection. What was
   * not acknowledged by then is not acknowledged at all. Wills are not published.
   */
  close(): Promise<void>
}

const defaults: BrokerLimits = {
  preConnectBytes: 4096,
  connectTimeoutMs: 10_000,
  packetBytes: 128 * 1024,
  packetTimeoutMs: 60_000,
  invokeTimeoutMs: 30_000,
  roomMs: 10_000,
  maxHeld: 2000,
  turnMs: 4,
  authFailuresPerMinutePerIp: 300,
  maxPending: 5000,
}

/** Room for topic and packet id beside the payload. */
const headerBytes = 1024
/** SUBSCRIBE and UNSUBSCRIBE are the only other packets of any length. */
const controlBytes = 8192
/** Messages of one connection that may be under way. AWS allows 100. */
const window = 64
/** What a client may leave unread before nothing more of its own is handled. */
const unreadBytes = 65_536
/** A client that does not read at all is ended after this. */
const drainTimeoutMs = 20_000
/** When the authorizer could not be asked for a connection that is open, it is asked again after this. */
const refreshAgainMs = 10_000
/** AWS asks again after 300 s at the earliest; here a key that has ended ends its connection sooner, s. */
const mostRefreshS = 45
const publishWaitMs = 2000
const closeWaitMs = 3000
const maxClientIdLength = 128
const maxSessions = 16
const cachedTopics = 64
/** What clients offer for MQTT over WebSocket: 3.1.1 and 3.1. */
const subprotocols = ['mqtt', 'mqttv3.1']
const failureWindowMs = 60_000

/** CONNACK return codes of MQTT 3.1.1. */
const refusal = { identifier: 2, unavailable: 3, credentials: 4, unauthorized: 5 } as const

interface PublishDecision {
  readonly publish: boolean
  readonly retain: boolean
  readonly rules: readonly Rule[]
}

/** One message under way. Those of a connection end in the order they came, so PUBACKs do too (MQTT-4.6.0-2). */
interface Slot {
  readonly connection: Connection
  done: boolean
  error: Error | undefined
  /** Milliseconds since the epoch when its functions were called. */
  invokedAt: number
  readonly callback: (error?: Error | null) => void
}

interface Connection extends Door {
  readonly id: string
  readonly stream: Duplex
  readonly guard: PacketGuard
  readonly peer: Peer
  readonly protocols: NonNullable<AuthorizerEvent['protocols']>
  client: Client
  /** What its CONNECT said. */
  connect: { clientId: string; clean: boolean; will: ConnectPacket['will'] | undefined } | undefined
  principalId: string
  policy: Policy | undefined
  /** What it was let in with: the authorizer is asked again from time to time. */
  question: AuthorizerEvent | undefined
  /** Milliseconds since the epoch. */
  refreshAt: number
  endsAt: number
  /** Of its lifecycle events. */
  readonly session: { readonly id: string; readonly version: number }
  /** Why it ended, in the words of AWS IoT Core; undefined until something is known. */
  endReason: string | undefined
  ready: boolean
  gone: boolean
  /** Messages handed to the parser that have not come out of it. */
  released: number
  readonly slots: Slot[]
  readonly published: Map<string, PublishDecision>
  readonly received: Map<string, boolean>
  /** Broker's numbers of the last messages delivered, to deliver once where subscriptions overlap. */
  readonly delivered: number[]
}

/** The raw connection of a client, counted from its first moment. */
interface Peer {
  readonly socket: Socket
  readonly address: string
  readonly since: number
  /** Lifts what holds for connections that are not authenticated. */
  authenticated: () => void
}

/** What of aedes' store in memory is replaced or called here. */
interface Store {
  storeRetained(packet: AedesPublishPacket): Promise<void>
  createRetainedStreamCombi(filters: string[]): Readable
  addSubscriptions(client: Client, subscriptions: { topic: string; qos: number }[]): Promise<void>
  cleanSubscriptions(client: { id: string }): Promise<void>
  outgoingEnqueueCombi(subscriptions: { clientId: string }[], packet: AedesPublishPacket): Promise<void>
  outgoingStream(client: { id: string }): AsyncIterable<AedesPublishPacket>
  outgoingClearMessageId(client: { id: string; clean?: boolean }, packet: OutgoingPacket): Promise<unknown>
  streamWill(): Readable
}

/** What of aedes' client is used here beside its types. The tests fail where a release of aedes changes it. */
interface Inside {
  _parser: NodeJS.EventEmitter
  _parsingBatch: number
  readonly duplicates: object
  will: unknown
  readonly _disconnected: boolean
}

type OutgoingPacket = { cmd?: string; messageId?: number | undefined }

const inside = (client: Client) => client as unknown as Inside

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : 'unknown')

/** An IPv6 client owns its whole /64. */
const addressOf = (socket: Socket): string => {
  const address = (socket.remoteAddress ?? '').replace(/^::ffff:/, '')
  return address.includes(':') ? (address.split('::')[0] ?? '').split(':').slice(0, 4).join(':') : address
}

const peerKey = ({ remoteAddress, remotePort, localPort }: Socket) =>
  `${remoteAddress} ${remotePort} ${localPort}`

const remember = <Value>(
  cache: Map<string, Value>,
  topic: string,
  decide: (topic: string) => Value,
): Value => {
  let value = cache.get(topic)
  if (value === undefined) {
    value = decide(topic)
    if (cache.size >= cachedTopics) cache.clear()
    cache.set(topic, value)
  }
  return value
}

/** Failed authentications per address, in windows of a minute. */
const createFailures = (limit: number) => {
  const windows = new Map<string, { count: number; until: number }>()
  const current = (address: string) => {
    const found = windows.get(address)
    return found !== undefined && found.until > Date.now() ? found : undefined
  }
  return {
    add(address: string) {
      if (limit === 0) return
      const found = current(address)
      if (found) found.count++
      else {
        windows.delete(address)
        windows.set(address, { count: 1, until: Date.now() + failureWindowMs })
      }
    },
    exceeded: (address: string) => limit > 0 && (current(address)?.count ?? 0) > limit,
    /** Windows stand in the order of their ends. */
    sweep() {
      for (const [address, { until }] of windows) {
        if (until > Date.now()) break
        windows.delete(address)
      }
    },
  }
}

/**
 * Retained messages by topic, so that a subscription without wildcards is one look-up: aedes' own store walks through
 * all of them for each filter of each SUBSCRIBE.
 */
const keepRetained = (store: Store) => {
  const retained = new Map<string, AedesPublishPacket>()
  store.storeRetained = async (packet) => {
    if (packet.payload.length === 0) retained.delete(packet.topic)
    // The copy frees the chunk of the socket that a small payload is a part of.
    else retained.set(packet.topic, { ...packet, payload: Buffer.from(packet.payload) })
  }
  const find = function* (filters: string[]) {
    for (const filter of filters) {
      const wild = filter.search(/[+#]/)
      const exact = wild < 0 ? retained.get(filter) : undefined
      if (exact) yield exact
      if (wild < 0) continue
      const fixed = filter.slice(0, wild).replace(/\/$/, '')
      const matches = topicMatcher(filter)
      for (const [topic, packet] of retained) if (topic.startsWith(fixed) && matches(topic)) yield packet
    }
  }
  store.createRetainedStreamCombi = (filters) => Readable.from([...find(filters)])
  return retained
}

const listen = (server: Server, setting: string, port: number, host: string): Promise<number> =>
  new Promise((resolve, reject) => {
    const fail = (error: NodeJS.ErrnoException) => reject(new Error(listenFault(error, setting, port, host)))
    server.once('error', fail)
    server.listen({ port, host, backlog }, () => {
      server.off('error', fail)
      resolve((server.address() as AddressInfo).port)
    })
  })

/** @throws {Error} one sentence when a port is taken or the certificate cannot be used. */
export async function startBroker(options: BrokerOptions): Promise<Broker> {
  const { host, rules, log } = options
  const limits: BrokerLimits = { ...defaults, ...options.limits }
  const publishBytes = limits.packetBytes + headerBytes
  const gate = createGate(limits)
  const failures = createFailures(limits.authFailuresPerMinutePerIp)

  /** By address and port: a TLS socket is another object than the connection below it. */
  const peers = new Map<string, Peer>()
  /** Peers that are not authenticated, oldest first. */
  const pending = new Set<Peer>()
  const connections = new Set<Connection>()
  const byClient = new WeakMap<Client, Connection>()
  /** Connections that hold their client id in aedes. */
  const live = new Map<string, Connection>()
  /** Connections that are authenticated and have their CONNACK. */
  const established = new Set<Connection>()
  /** Client ids of persistent sessions by principal, oldest first, and the other way round. */
  const sessions = new Map<string, Set<string>>()
  const owners = new Map<string, string>()
  /** Ends the sleep of each message that is held back. */
  const sleepers = new Set<() => void>()
  /** Messages that are held back, by principal: how many, and the last one's turn. */
  const lines = new Map<string, { count: number; last: Promise<void> }>()
  /** Messages that functions have, oldest first. */
  const invoked = new Set<Slot>()
  /** Lifecycle events that are being told. */
  const announcing = new Set<Promise<void>>()
  let closing = false
  let counted = 0
  /** Messages that have come out of the parser and are not done. */
  let underWay = 0

  const tell = (hook: ((principalId: string) => void) | undefined, principalId: string) => {
    try {
      hook?.(principalId)
    } catch (error) {
      log('error', 'mqtt hook failed', { device: principalId, error })
    }
  }

  // Lifecycle

  /** As AWS IoT Core does it: an event on a topic that no client may use, for the rules only. Tried three times. */
  const announce = (connection: Connection, eventType: 'connected' | 'disconnected') => {
    // Whoever starts the next broker knows that nobody is connected to this one any more.
    if (closing) return
    const { client, principalId, session, endReason } = connection
    const topic = `$aws/events/presence/${eventType}/${client.id}`
    const matching = rules.filter((rule) => rule.matches(topic))
    if (matching.length === 0) return
    const timestamp = Date.now()
    const message = {
      topic,
      payload: Buffer.from(
        JSON.stringify({
          clientId: client.id,
          timestamp,
          eventType,
          sessionIdentifier: session.id,
          principalIdentifier: principalId,
          versionNumber: session.version,
          ...(eventType === 'disconnected' ? { disconnectReason: endReason } : {}),
        }),
      ),
      clientId: client.id,
      receivedAt: timestamp,
      messageId: options.nextMessageId(),
    }
    const call = async (rule: Rule) => {
      for (const waitMs of [100, 1000, 0]) {
        try {
          return await options.invoke(rule.functionName, rule.event(message))
        } catch (error) {
          log(waitMs === 0 ? 'error' : 'warn', 'mqtt lifecycle event not taken', {
            topic: message.topic,
            error,
          })
          await sleep(waitMs)
        }
      }
    }
    for (const rule of matching) {
      const told = call(rule).finally(() => announcing.delete(told))
      announcing.add(told)
    }
  }

  // Connections

  const drop = (connection: Connection, level: 'debug' | 'warn', reason: string) => {
    connection.endReason ??= 'SERVER_INITIATED_DISCONNECT'
    if (!connection.gone) {
      const device = connection.principalId === '' ? undefined : connection.principalId
      log(level, 'mqtt connection ended', { connection: connection.id, device, reason })
    }
    connection.stream.destroy()
  }

  const forget = (connection: Connection) => {
    if (connection.gone) return
    connection.gone = true
    connections.delete(connection)
    gate.leave(connection.released)
    connection.released = 0
    if (live.get(connection.client.id) === connection) live.delete(connection.client.id)
    if (!connection.ready) return
    established.delete(connection)
    connection.endReason ??= inside(connection.client)._disconnected
      ? 'CLIENT_INITIATED_DISCONNECT'
      : 'CONNECTION_LOST'
    announce(connection, 'disconnected')
  }

  const attach = (stream: Duplex, peer: Peer, protocols: Connection['protocols']) => {
    const ask = () => {
      if (connection.ready && connection.guard.waiting()) gate.ask(connection)
    }
    const guard = guardPackets(
      stream,
      { preConnectBytes: limits.preConnectBytes, publishBytes, controlBytes },
      {
        breach: (reason) => drop(connection, connection.policy ? 'warn' : 'debug', reason),
        ready: ask,
      },
    )
    const connection: Connection = {
      id: `${process.pid}-${++counted}`,
      stream,
      guard,
      peer,
      protocols,
      client: undefined as unknown as Client,
      connect: undefined,
      principalId: '',
      policy: undefined,
      question: undefined,
      refreshAt: Number.POSITIVE_INFINITY,
      endsAt: Number.POSITIVE_INFINITY,
      session: { id: randomUUID(), version: counted },
      endReason: undefined,
      ready: false,
      gone: false,
      released: 0,
      slots: [],
      published: new Map(),
      received: new Map(),
      delivered: [],
      waiting: () => guard.waiting(),
      // Half a window at least, so that what is released are groups and not single packets.
      room() {
        const under = connection.released + connection.slots.length
        if (!connection.ready || under > window / 2 || stream.writableLength > unreadBytes) return 0
        // Who comes back while its messages are held back does not get to add a window each time.
        if ((lines.get(connection.principalId)?.count ?? 0) >= window) return 0
        return window - under
      },
      release(packets) {
        const messages = guard.release(packets)
        if (connection.gone) return 0
        // aedes would not read on before the last group is done: one message held back would keep the places of others.
        inside(connection.client)._parsingBatch = 0
        connection.released += messages
        return messages
      },
    }
    connections.add(connection)
    stream.on('drain', ask)
    stream.once('close', () => forget(connection))
    connection.client = aedes.handle(stream)
    byClient.set(connection.client, connection)
    // aedes takes a message with a lower number than the last delivered for a duplicate, and messages do overtake each
    // other inside it. What is a duplicate is decided by `isFirst` instead.
    Object.defineProperty(inside(connection.client).duplicates, aedes.id, { get: () => 0, set: () => {} })
    // aedes reports the QoS that was asked for in the SUBACK, so it has to be lowered before aedes sees it.
    inside(connection.client)._parser.prependListener(
      'packet',
      (packet: { cmd: string; subscriptions?: { topic: string; qos: number }[] }) => {
        if (connection.ready) tell(options.onTraffic, connection.principalId)
        for (const subscription of packet.subscriptions ?? []) {
          if (subscription.qos > 1) subscription.qos = 1
        }
      },
    )
  }

  /** Undefined, and the connection gone, when it is not wanted. */
  const admit = (socket: Socket): Peer | undefined => {
    const address = addressOf(socket)
    socket.on('error', () => socket.destroy())
    if (closing || failures.exceeded(address)) {
      socket.destroy()
      return undefined
    }
    socket.setNoDelay(true)
    socket.setKeepAlive(true, 60_000)
    const peer: Peer = { socket, address, since: Date.now(), authenticated: () => {} }
    const key = peerKey(socket)
    peers.set(key, peer)
    pending.add(peer)
    socket.once('close', () => {
      if (peers.get(key) === peer) peers.delete(key)
      pending.delete(peer)
    })
    // A client that means it is authenticated in milliseconds: the oldest one is the least likely to be one.
    const [oldest] = pending
    if (pending.size > limits.maxPending) oldest?.socket.destroy()
    return peer
  }

  // Authentication

  const preConnect = (
    client: Client,
    packet: ConnectPacket,
    callback: (error: Error | null, ok: boolean) => void,
  ) => {
    const connection = byClient.get(client)
    if (connection === undefined || closing) {
      callback(new Error('closing'), false)
      return
    }
    const { clean, will, username } = packet
    if (packet.clientId === '' && clean) {
      const name = /^\w{1,64}$/.test(username ?? '') ? username : 'client'
      packet.clientId = `${name}-${randomBytes(9).toString('hex')}`
    }
    connection.connect = { clientId: packet.clientId, clean: clean === true, will }
    callback(null, true)
  }

  /** Gives a connection its rights, and the times at which they are asked for again and end. */
  const grant = (connection: Connection, result: AuthorizerResult, policy: Policy) => {
    const inSeconds = (seconds: number) =>
      seconds > 0 ? Date.now() + seconds * 1000 : Number.POSITIVE_INFINITY
    connection.policy = policy
    connection.published.clear()
    connection.received.clear()
    connection.refreshAt = inSeconds(Math.min(result.refreshAfterInSeconds, mostRefreshS))
    connection.endsAt = inSeconds(result.disconnectAfterInSeconds)
  }

  /** Asks the authorizer again; a connection that would not be let in any more ends. */
  const refresh = async (connection: Connection) => {
    connection.refreshAt = Number.POSITIVE_INFINITY
    try {
      const result = await options.authorize(connection.question as AuthorizerEvent)
      if (result?.isAuthenticated === true && result.principalId === connection.principalId)
        grant(connection, result, compilePolicies(result.policyDocuments ?? [], options.arnPrefix))
      else drop(connection, 'warn', 'its rights have ended')
    } catch (error) {
      log('error', 'mqtt authorizer failed', { connection: connection.id, error })
      connection.refreshAt = Date.now() + refreshAgainMs
    }
  }

  /** Resolves with the CONNACK code of a refusal, or undefined when the client is let in. */
  const admission = async (
    connection: Connection,
    username: string | undefined,
    password: Buffer | undefined,
  ): Promise<number | undefined> => {
    const { clientId, clean, will } = connection.connect as NonNullable<Connection['connect']>
    if (clientId === '' || clientId.length > maxClientIdLength) return refusal.identifier
    if (username === undefined || password === undefined) {
      failures.add(connection.peer.address)
      return refusal.credentials
    }
    const question: AuthorizerEvent = {
      protocols: connection.protocols,
      protocolData: { mqtt: { username, password: password.toString('base64'), clientId } },
      connectionMetadata: { id: connection.id },
    }
    let result: AuthorizerResult
    try {
      result = await options.authorize(question)
    } catch (error) {
      log('error', 'mqtt authorizer failed', { connection: connection.id, error })
      return refusal.unavailable
    }
    if (result?.isAuthenticated !== true || !result.principalId) {
      failures.add(connection.peer.address)
      return refusal.credentials
    }
    const { principalId } = result
    const policy = compilePolicies(result.policyDocuments ?? [], options.arnPrefix)
    const persistent = !clean
    const owner = live.get(clientId)?.principalId ?? owners.get(clientId) ?? principalId
    const mayConnect =
      policy.connect(clientId, { will: will !== undefined, persistent }) && owner === principalId
    const mayWill =
      will === undefined ||
      ((will.qos ?? 0) < 2 && policy.publish(will.topic) && (!will.retain || policy.retain(will.topic)))
    if (!mayConnect || !mayWill) {
      const reason = mayConnect ? 'its will is not allowed' : 'its client id or session is not allowed'
      log('warn', 'mqtt connection refused', { connection: connection.id, device: principalId, reason })
      return refusal.unauthorized
    }
    connection.principalId = principalId
    connection.question = question
    grant(connection, result, policy)
    if (persistent) await ownSession(clientId, principalId)
    else disown(clientId, principalId)
    return undefined
  }

  const disown = (clientId: string, principalId: string) => {
    owners.delete(clientId)
    const own = sessions.get(principalId)
    if (own?.delete(clientId) && own.size === 0) sessions.delete(principalId)
  }

  /** Notes whose session it is; the oldest of too many that nobody is connected to is forgotten. */
  const ownSession = async (clientId: string, principalId: string) => {
    disown(clientId, principalId)
    owners.set(clientId, principalId)
    const own = sessions.get(principalId) ?? new Set()
    sessions.set(principalId, own.add(clientId))
    const oldest =
      own.size > maxSessions ? [...own].find((id) => !live.has(id) && id !== clientId) : undefined
    if (oldest !== undefined) await endSession(oldest, principalId)
  }

  const endSession = async (clientId: string, principalId: string) => {
    disown(clientId, principalId)
    await store.cleanSubscriptions({ id: clientId })
    for await (const packet of store.outgoingStream({ id: clientId })) {
      await clearOutgoing({ id: clientId }, packet)
    }
  }

  // Messages

  const decide =
    (policy: Policy) =>
    (topic: string): PublishDecision => ({
      publish: policy.publish(topic),
      retain: policy.retain(topic),
      rules: rules.filter((rule) => rule.matches(topic)),
    })

  const sleep = (ms: number) =>
    new Promise<void>((resolve) => {
      const wake = () => {
        clearTimeout(timer)
        sleepers.delete(wake)
        resolve()
      }
      const timer = setTimeout(wake, ms)
      sleepers.add(wake)
    })

  /** ms to wait before asking again; 0 when the message is counted. */
  const throttled = (principalId: string): number | Promise<number> => {
    if (closing || options.throttle === undefined) return 0
    const failed = (error: unknown) => {
      log('warn', 'mqtt throttle failed', { device: principalId, error })
      return 0
    }
    try {
      const waitMs = options.throttle(principalId)
      return typeof waitMs === 'number' ? waitMs : waitMs.catch(failed)
    } catch (error) {
      return failed(error)
    }
  }

  /**
   * Resolves when a message may pass. It stands in its line until the function that this gives is called: what comes
   * meanwhile stays behind it.
   * @param ms until it is asked for again for the first time.
   */
  const holdBack = async (principalId: string, ms: number): Promise<() => void> => {
    // Who is slowed down takes no place away from the others.
    gate.leave(1)
    const line = lines.get(principalId) ?? { count: 0, last: Promise.resolve() }
    lines.set(principalId, line)
    const { count, last } = line
    // Only the first of a line asks, so that messages pass in their order and the limiter is asked once for each place.
    const turn = async () => {
      await last
      let waitMs = count > 0 ? await throttled(principalId) : ms
      while (waitMs > 0 && !closing) {
        await sleep(waitMs)
        waitMs = await throttled(principalId)
      }
    }
    line.count++
    line.last = turn()
    await line.last
    await gate.enter()
    return () => {
      line.count--
      if (line.count === 0) lines.delete(principalId)
      if (line.count === window - 1) {
        for (const connection of established)
          if (connection.principalId === principalId && connection.guard.waiting()) gate.ask(connection)
      }
    }
  }

  const settle = (connection: Connection) => {
    const { slots } = connection
    let ended = 0
    while (slots[0]?.done) {
      const slot = slots.shift() as Slot
      ended++
      underWay--
      slot.callback(slot.error ?? null)
    }
    gate.leave(ended)
    if (connection.ready && connection.guard.waiting()) gate.ask(connection)
  }

  /** Waits for the turn of a message. @param asked ms until it may pass, where it was asked for already. */
  const inItsTurn = async (
    { principalId }: Connection,
    { counted, isWill }: { counted: boolean; isWill: boolean },
    asked: number | Promise<number> | undefined,
    pass: () => Promise<unknown>,
  ): Promise<unknown> => {
    if (!counted) await gate.enter()
    // Nobody is there any more whom it would slow down to hold back a will.
    const ms = isWill ? 0 : await (asked ?? mayPass(principalId))
    if (ms === 0 || closing) return pass()
    const leaveLine = await holdBack(principalId, ms)
    const passed = pass()
    leaveLine()
    return passed
  }

  /** ms until a message may pass; behind those that are held back none does. */
  const mayPass = (principalId: string) => (lines.has(principalId) ? 1 : throttled(principalId))

  /** Hands a message to its functions: at once where nothing holds it back, as nearly always. */
  const run = (
    slot: Slot,
    packet: AedesPublishPacket,
    matching: readonly Rule[],
    told: { counted: boolean; isWill: boolean },
  ): Promise<unknown> => {
    const { connection } = slot
    const message = {
      topic: packet.topic,
      payload: packet.payload as Buffer,
      clientId: connection.client.id,
      receivedAt: options.arrival?.() ?? Date.now(),
      messageId: options.nextMessageId(),
    }
    const asked = told.counted ? mayPass(connection.principalId) : undefined
    if (asked === 0) return handOver(slot, matching, message)
    return inItsTurn(connection, told, asked, () => handOver(slot, matching, message))
  }

  const handOver = (slot: Slot, matching: readonly Rule[], message: RuleMessage): Promise<unknown> => {
    slot.invokedAt = Date.now()
    invoked.add(slot)
    const [only] = matching
    if (only !== undefined && matching.length === 1) return taken(only, message)
    return Promise.all(matching.map((rule) => taken(rule, message)))
  }

  const taken = (rule: Rule, message: RuleMessage): Promise<void> => {
    const failed = (error: unknown) => takenLater(rule, message, error)
    try {
      return options.invoke(rule.functionName, rule.event(message)).catch(failed)
    } catch (error) {
      return failed(error)
    }
  }

  /** Asks again while there is no room: the sender is slowed down, and is cut off only when that lasts. */
  const takenLater = async (rule: Rule, message: RuleMessage, refused: unknown): Promise<void> => {
    const until = performance.now() + limits.roomMs
    let error = refused
    for (let waitMs = 25; ; waitMs = Math.min(waitMs * 2, 800)) {
      const mayCome = error instanceof AppError && error.code === 'UNAVAILABLE'
      if (!mayCome || closing || performance.now() + waitMs > until) throw error
      await sleep(waitMs * (0.5 + Math.random() / 2))
      try {
        return await options.invoke(rule.functionName, rule.event(message))
      } catch (reason) {
        error = reason
      }
    }
  }

  /** Why this message cannot be taken; undefined when it can. */
  const refusalOf = (
    packet: AedesPublishPacket,
    decision: PublishDecision | undefined,
  ): string | undefined => {
    if (decision === undefined) return 'it is not authenticated'
    if (packet.qos > 1) return 'QoS 2 is not supported'
    // MQTT-2.3.1-1. A will has none yet.
    if (packet.qos === 1 && packet.messageId !== undefined && packet.messageId < 1)
      return 'it has no packet id'
    if (packet.payload.length > limits.packetBytes) return 'the payload is too large'
    if (!decision.publish) return 'it may not publish to this topic'
    if (packet.retain && !decision.retain) return 'it may not retain on this topic'
    return undefined
  }

  const endSlot = (slot: Slot, error?: unknown) => {
    if (slot.done) return
    const { connection } = slot
    invoked.delete(slot)
    slot.done = true
    if (error !== undefined) {
      slot.error = new Error('the message could not be stored')
      log('warn', 'mqtt message not stored', {
        connection: connection.id,
        device: connection.principalId,
        error,
      })
    }
    settle(connection)
  }

  const authorizePublish = (
    client: Client | null,
    published: unknown,
    callback: (error?: Error | null) => void,
  ) => {
    const packet = published as AedesPublishPacket
    const connection = client ? byClient.get(client) : undefined
    if (connection === undefined) {
      callback(new Error('unknown client'))
      return
    }
    const isWill = inside(connection.client).will === published
    // Not so for a will, nor for what the parser gives out after the connection ended and its places were given back.
    const counted = !isWill && connection.released > 0
    if (counted) connection.released--
    const decision =
      connection.policy && remember(connection.published, packet.topic, decide(connection.policy))
    const refused = isWill && closing ? 'the broker closes' : refusalOf(packet, decision)
    if (refused !== undefined || decision === undefined) {
      if (counted) gate.leave(1)
      log('warn', 'mqtt message refused', {
        connection: connection.id,
        device: connection.principalId,
        topic: packet.topic.slice(0, 200),
        reason: refused,
      })
      callback(new Error(refused))
      return
    }
    const slot: Slot = { connection, done: false, error: undefined, invokedAt: 0, callback }
    connection.slots.push(slot)
    underWay++
    if (counted && decision.rules.length === 0 && options.throttle === undefined) endSlot(slot)
    else {
      run(slot, packet, decision.rules, { counted, isWill }).then(
        () => endSlot(slot),
        (error: unknown) => endSlot(slot, error ?? new Error('rejected')),
      )
    }
  }

  /** True the first time a message is delivered to this connection. */
  const isFirst = ({ delivered }: Connection, counter: number): boolean => {
    if (delivered.includes(counter)) return false
    delivered.push(counter)
    if (delivered.length > 32) delivered.shift()
    return true
  }

  const aedes = await Aedes.createBroker({
    // 0 is without bound: the gate bounds, and here one client that does not read would hold up all others.
    concurrency: 0,
    connectTimeout: limits.connectTimeoutMs,
    drainTimeout: drainTimeoutMs,
    queueLimit: window,
    maxClientsIdLength: maxClientIdLength,
    preConnect,
    authenticate(client, username, password, done) {
      const connection = byClient.get(client)
      if (connection === undefined) {
        client.close()
        return
      }
      admission(connection, username, password)
        .catch((error: unknown) => {
          log('error', 'mqtt admission failed', { connection: connection.id, error })
          return refusal.unavailable
        })
        .then((code) => {
          if (code !== undefined) {
            done(Object.assign(new Error('refused'), { returnCode: code }) as never, false)
            return
          }
          pending.delete(connection.peer)
          connection.peer.authenticated()
          connection.guard.open()
          done(null, true)
        })
    },
    authorizePublish,
    authorizeSubscribe(client, subscription, callback) {
      const allowed = byClient.get(client)?.policy?.subscribe(subscription.topic) === true
      callback(null, allowed ? subscription : null)
    },
    authorizeForward(client, packet) {
      const connection = byClient.get(client)
      const policy = connection?.policy
      if (connection === undefined || policy === undefined) return null
      if (!remember(connection.received, packet.topic, (topic) => policy.receive(topic))) return null
      // Retained messages on subscribing carry no broker, those of a resumed session have their packet id already.
      const fresh = packet.brokerId && packet.messageId === undefined
      return fresh && !isFirst(connection, packet.brokerCounter) ? null : packet
    },
  })
  const store = (aedes as unknown as { persistence: Store }).persistence
  const retained = keepRetained(store)
  // Wills of brokers that died are none of ours, and after a long sleep of the machine ours would look like those.
  store.streamWill = () => Readable.from([])
  const addSubscriptions = store.addSubscriptions.bind(store)
  // aedes hands over all filters of a SUBSCRIBE, those that were refused too: messages would queue up for them.
  store.addSubscriptions = (client, subscriptions) =>
    addSubscriptions(
      client,
      subscriptions.filter(({ topic }) => byClient.get(client)?.policy?.subscribe(topic) === true),
    )
  const enqueueOutgoing = store.outgoingEnqueueCombi.bind(store)
  // One copy for each client, not for each of its subscriptions: a single PUBACK will take it off.
  store.outgoingEnqueueCombi = (subscriptions, packet) =>
    enqueueOutgoing([...new Map(subscriptions.map((one) => [one.clientId, one])).values()], packet)
  const clearOutgoing = store.outgoingClearMessageId.bind(store)
  // Without a packet id aedes would take the first unsent message for the one meant, and a PUBACK of a clean session
  // would leave an empty queue behind for every client id that ever was.
  store.outgoingClearMessageId = async (client, packet) => {
    if (packet.messageId === undefined || (client.clean && packet.cmd === 'puback')) return undefined
    return clearOutgoing(client, packet)
  }

  aedes.on('client', (client) => {
    const connection = byClient.get(client)
    const before = live.get(client.id)
    if (before && before !== connection) before.endReason ??= 'DUPLICATE_CLIENTID'
    if (connection && !connection.gone) live.set(client.id, connection)
  })
  aedes.on('clientReady', (client) => {
    const connection = byClient.get(client)
    if (connection === undefined || connection.gone || client.closed) return
    connection.ready = true
    established.add(connection)
    announce(connection, 'connected')
    if (connection.guard.waiting()) gate.ask(connection)
  })
  aedes.on('clientDisconnect', (client) => {
    // aedes forgets by client id: when a device comes back before its old connection is cleared away, the new one.
    const current = live.get(client.id)?.client
    if (current !== undefined && current !== client && !current.closed)
      (aedes as unknown as { clients: Record<string, Client> }).clients[client.id] = current
  })
  const clientFault = (client: Client, error: Error) =>
    log('debug', 'mqtt client error', { connection: byClient.get(client)?.id, reason: reasonOf(error) })
  aedes.on('clientError', clientFault)
  aedes.on('connectionError', clientFault)
  const emitter: NodeJS.EventEmitter = aedes
  emitter.on('error', (error: unknown) => log('error', 'mqtt broker error', { error }))

  // Transports

  const servers: Server[] = []
  const ports: { mqtt?: number; ws?: number; tls?: number } = {}

  const openTcp = async (port: number) => {
    const server = createTcpServer((socket) => {
      const peer = admit(socket)
      if (peer) attach(socket, peer, ['mqtt'])
    })
    servers.push(server)
    ports.mqtt = await listen(server, 'MQTT_PORT', port, host)
  }

  const openTls = async ({ port, cert, key }: NonNullable<BrokerOptions['tls']>) => {
    let server: Server
    try {
      server = createTlsServer({ cert, key, handshakeTimeout: limits.connectTimeoutMs })
    } catch {
      throw new Error('TLS_CERT and TLS_KEY are no certificate and its key in PEM.')
    }
    server.on('connection', admit)
    server.on('tlsClientError', (error: Error) =>
      log('debug', 'mqtt handshake failed', { reason: reasonOf(error) }),
    )
    server.on('secureConnection', (socket: Socket) => {
      const peer = peers.get(peerKey(socket))
      if (peer) attach(socket, peer, ['tls', 'mqtt'])
      else socket.destroy()
    })
    servers.push(server)
    ports.tls = await listen(server, 'MQTT_TLS_PORT', port, host)
  }

  const openWebSocket = async (port: number) => {
    const webSockets = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: publishBytes + controlBytes,
      handleProtocols: (offered) => subprotocols.find((name) => offered.has(name)) ?? false,
    })
    const server = createHttpServer(
      {
        headersTimeout: limits.connectTimeoutMs,
        requestTimeout: limits.connectTimeoutMs,
        maxHeaderSize: controlBytes,
      },
      (_request, response) => {
        response.writeHead(426, { Connection: 'close', Upgrade: 'websocket' }).end()
      },
    )
    server.on('connection', admit)
    server.on('clientError', (_error, socket) => socket.destroy())
    server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
      const peer = peers.get(peerKey(socket))
      const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim())
      if (peer === undefined || !subprotocols.some((name) => offered.includes(name))) {
        socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
        return
      }
      // The receiver would gather a whole message before the guard sees a byte of it.
      peer.authenticated = limitBytes(socket, limits.preConnectBytes + headerBytes, () => socket.destroy())
      webSockets.handleUpgrade(request, socket, head, (webSocket) => {
        webSocket.on('error', (error) => log('debug', 'mqtt websocket error', { reason: reasonOf(error) }))
        attach(createWebSocketStream(webSocket), peer, ['http', 'mqtt'])
      })
    })
    servers.push(server)
    ports.ws = await listen(server, 'MQTT_WS_PORT', port, host)
  }

  const sweepMs = Math.max(
    20,
    Math.min(
      1000,
      ...[limits.connectTimeoutMs, limits.packetTimeoutMs, limits.invokeTimeoutMs].map((ms) => ms / 4),
    ),
  )
  const sweep = setInterval(() => {
    const now = Date.now()
    failures.sweep()
    for (const { socket, since } of pending) {
      if (now - since < limits.connectTimeoutMs) break
      socket.destroy()
    }
    for (const slot of invoked) {
      if (now - slot.invokedAt < limits.invokeTimeoutMs) break
      endSlot(slot, new Error('its functions did not answer in time'))
    }
    for (const connection of connections) {
      const since = connection.guard.incompleteSince()
      if (connection.policy && since !== undefined && now - since > limits.packetTimeoutMs)
        drop(connection, 'warn', 'a packet was not completed in time')
      else if (now > connection.endsAt) drop(connection, 'debug', 'its time is over')
      else if (now > connection.refreshAt && connection.ready) void refresh(connection)
    }
  }, sweepMs)
  sweep.unref()

  // The end

  const until = async (reached: () => boolean, ms: number) => {
    const deadline = Date.now() + ms
    while (!reached() && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 5))
  }

  const end = async () => {
    closing = true
    clearInterval(sweep)
    gate.close()
    const closed = servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve())))
    for (const { socket } of pending) socket.destroy()
    for (const wake of sleepers) wake()
    await until(() => underWay === 0, closeWaitMs)
    // What was acknowledged just now is still to be written; ending before destroying lets it arrive.
    for (const { stream } of connections) stream.end()
    await until(() => connections.size === 0, 250)
    await Promise.race([Promise.all(announcing), sleep(250)])
    for (const { socket } of peers.values()) socket.destroy()
    await new Promise<void>((resolve) => aedes.close(resolve))
    await Promise.all(closed)
  }
  let ended: Promise<void> | undefined
  const close = () => {
    ended ??= end()
    return ended
  }

  try {
    if (options.port !== 'none') await openTcp(options.port)
    if (options.wsPort !== 'none') await openWebSocket(options.wsPort)
    if (options.tls) await openTls(options.tls)
  } catch (error) {
    await close()
    throw error
  }
  for (const server of servers) {
    server.on('error', (error) => log('error', 'mqtt listener failed', { error }))
  }

  return {
    port: ports.mqtt,
    wsPort: ports.ws,
    tlsPort: ports.tls,
    connected: () => established.size,
    retained: (topic) => {
      const found = retained.get(topic)
      return found && { topic, payload: found.payload as Buffer, qos: found.qos === 0 ? 0 : 1, retain: true }
    },
    retainedTopics: () => [...retained.keys()],
    async publish({ topic, payload, qos, retain }) {
      if (closing) throw new Error('The MQTT broker is closed.')
      if (!isTopicName(topic)) throw new Error('A message can be published to a topic name only.')
      const done = new Promise<void>((resolve, reject) => {
        const packet = {
          cmd: 'publish' as const,
          topic,
          payload: Buffer.from(payload),
          qos,
          retain,
          dup: false,
        }
        aedes.publish(packet, (error) => (error ? reject(error) : resolve()))
      })
      let timer: NodeJS.Timeout | undefined
      const longEnough = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, publishWaitMs)
      })
      await Promise.race([done, longEnough]).finally(() => clearTimeout(timer))
    },
    async disconnect(clientId, { cleanSession, preventWill }) {
      const connection = live.get(clientId)
      const owner = owners.get(clientId)
      if (connection !== undefined) {
        connection.endReason ??= 'API_INITIATED_DISCONNECT'
        if (preventWill) inside(connection.client).will = undefined
        await new Promise<void>((resolve) => connection.client.close(() => resolve()))
      }
      if (cleanSession && owner !== undefined) await endSession(clientId, owner)
      return connection !== undefined || owner !== undefined
    },
    close,
  }
}
