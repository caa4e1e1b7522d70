/**
 * aedes' `persistence`: sessions, queued and retained messages in memory. It uses aedes-persistence, and differs from it where
 * devices would lose messages, get them twice, or fill the memory.
 */
import { Readable } from 'node:stream'
import type { AedesPublishPacket, Client, Subscription } from 'aedes'
import openMemoryPersistence from 'aedes-persistence'
import { topicMatcher } from '../../../lib/mqtt/topics.ts'
import type { DeliveryWindow } from './delivery-window.ts'
import type { Handshakes } from './handshakes.ts'
import { type QueuedPacket, SessionQueues } from './session-queues.ts'

type ClientRef = { readonly id: string; readonly clean?: boolean }
type QueuedFor = { readonly clientId: string }
type IncomingPacket = { readonly messageId: number }
/** aedes notes here when a message with an expiry interval (MQTT 5) expires, ms since the epoch. */
type RetainedPacket = AedesPublishPacket & { readonly messageExpiry?: number }
type Will = AedesPublishPacket & { readonly clientId?: string; readonly brokerId?: string }

/** The promises of aedes-persistence; its type declarations know only the callbacks. */
interface MemoryPersistence {
  setup(broker: unknown): Promise<void>
  addSubscriptions(client: ClientRef, subscriptions: readonly Subscription[]): Promise<void>
  removeSubscriptions(client: ClientRef, topics: readonly string[]): Promise<void>
  subscriptionsByClient(client: ClientRef): Promise<Subscription[]>
  subscriptionsByTopic(topic: string): Promise<QueuedFor[]>
  cleanSubscriptions(client: ClientRef): Promise<void>
  putWill(client: ClientRef, will: Will): Promise<void>
  delWill(client: ClientRef): Promise<Will | undefined>
}

const openMemory = openMemoryPersistence as unknown as () => MemoryPersistence

export interface BrokerPersistenceOptions {
  /** Whether the client's subscription to this filter was granted. */
  mayStore(client: Client, filter: string): boolean
  /** Whether this message is sent to the client, or kept for it while it is offline. */
  mayReceive(clientId: string, packet: AedesPublishPacket): boolean
  readonly handshakes: Handshakes
  /** Undefined for a client that has not limited how many messages are sent to it at once. */
  windowOf(client: ClientRef): DeliveryWindow | undefined
}

export class BrokerPersistence {
  private readonly memory = openMemory()
  private readonly mayStore: (client: Client, filter: string) => boolean
  /**
   * By topic, so that a subscription without wildcards is one look-up: aedes-persistence walks through all retained messages
   * for each filter of each SUBSCRIBE.
   */
  private readonly retainedMessages = new Map<string, RetainedPacket>()
  private readonly queues: SessionQueues
  private readonly handshakes: Handshakes
  private readonly windowOf: (client: ClientRef) => DeliveryWindow | undefined

  constructor({ mayStore, mayReceive, handshakes, windowOf }: BrokerPersistenceOptions) {
    this.mayStore = mayStore
    this.queues = new SessionQueues(mayReceive)
    this.handshakes = handshakes
    this.windowOf = windowOf
  }

  // aedes requires an async function here.
  async setup(broker: unknown): Promise<void> {
    await this.memory.setup(broker)
  }

  retained(topic: string): AedesPublishPacket | undefined {
    const packet = this.retainedMessages.get(topic)
    if (packet?.messageExpiry === undefined || packet.messageExpiry > Date.now()) return packet
    this.retainedMessages.delete(topic)
    return undefined
  }

  retainedTopics(): string[] {
    return [...this.retainedMessages.keys()].filter((topic) => this.retained(topic) !== undefined)
  }

  /** Whether a session has a subscription that keeps messages of this topic. */
  async isKept(topic: string): Promise<boolean> {
    return (await this.memory.subscriptionsByTopic(topic)).length > 0
  }

  // Methods that differ from aedes-persistence

  async storeRetained(packet: AedesPublishPacket): Promise<void> {
    if (packet.payload.length === 0) this.retainedMessages.delete(packet.topic)
    // A small payload is a part of the socket's chunk; the copy frees the chunk.
    else this.retainedMessages.set(packet.topic, { ...packet, payload: Buffer.from(packet.payload) })
  }

  createRetainedStreamCombi(filters: readonly string[]): Readable {
    return Readable.from(filters.flatMap((filter) => this.retainedMatching(filter)))
  }

  /** aedes passes all filters of a SUBSCRIBE, also refused ones: messages would be queued for them. */
  addSubscriptions(client: Client, subscriptions: readonly Subscription[]): Promise<void> {
    const granted = subscriptions.filter(({ topic }) => this.mayStore(client, topic))
    return this.memory.addSubscriptions(client, granted)
  }

  async outgoingEnqueue({ clientId }: QueuedFor, packet: AedesPublishPacket): Promise<void> {
    this.queues.add(clientId, packet)
  }

  /** Queues one copy per client, not one per subscription, because one PUBACK removes one copy. */
  async outgoingEnqueueCombi(queues: readonly QueuedFor[], packet: AedesPublishPacket): Promise<void> {
    for (const clientId of new Set(queues.map((queue) => queue.clientId))) this.queues.add(clientId, packet)
  }

  async outgoingUpdate(client: ClientRef, packet: QueuedPacket): Promise<void> {
    if (!this.queues.update(client.id, packet)) throw new Error('no such packet')
  }

  /** Without a packet id aedes-persistence would remove the first message that was not sent yet. */
  async outgoingClearMessageId(client: ClientRef, packet: QueuedPacket): Promise<QueuedPacket | undefined> {
    return packet.messageId === undefined ? undefined : this.queues.take(client.id, packet.messageId)
  }

  /** Deletes a session. aedes calls it when a session ends or starts anew. */
  async cleanSubscriptions(client: ClientRef): Promise<void> {
    this.handshakes.forget(client.id)
    this.queues.clear(client.id)
    await this.memory.cleanSubscriptions(client)
  }

  /** aedes asks for it when a client connects. */
  outgoingStream(client: ClientRef): Readable {
    this.queues.removeCommands(client.id)
    const packets = Readable.from(this.queues.list(client.id))
    const window = this.windowOf(client)
    return window === undefined ? packets : Readable.from(window.paced(packets))
  }

  // aedes-persistence would keep the payloads of QoS 2 messages, too.

  async incomingStorePacket(client: ClientRef, packet: IncomingPacket): Promise<void> {
    this.handshakes.forward(client.id, packet.messageId)
  }
  async incomingGetPacket(client: ClientRef, packet: IncomingPacket): Promise<IncomingPacket> {
    if (!this.handshakes.isForwarded(client.id, packet.messageId)) throw new Error('no such packet')
    return packet
  }
  async incomingDelPacket(client: ClientRef, packet: IncomingPacket): Promise<void> {
    this.handshakes.end(client.id, packet.messageId)
  }

  /**
   * Returns no wills. aedes would publish those of a broker that stopped; there is none, and after a suspend this broker's own
   * wills would look like that.
   */
  streamWill(): Readable {
    return Readable.from([])
  }

  // Methods of aedes-persistence

  removeSubscriptions(client: ClientRef, topics: readonly string[]): Promise<void> {
    return this.memory.removeSubscriptions(client, topics)
  }
  subscriptionsByClient(client: ClientRef): Promise<Subscription[]> {
    return this.memory.subscriptionsByClient(client)
  }
  subscriptionsByTopic(topic: string): Promise<QueuedFor[]> {
    return this.memory.subscriptionsByTopic(topic)
  }
  putWill(client: ClientRef, will: Will): Promise<void> {
    return this.memory.putWill(client, will)
  }
  delWill(client: ClientRef): Promise<Will | undefined> {
    return this.memory.delWill(client)
  }

  private retainedMatching(filter: string): AedesPublishPacket[] {
    const wildcard = filter.search(/[+#]/)
    if (wildcard < 0) {
      const exact = this.retainedMessages.get(filter)
      return exact === undefined ? [] : [exact]
    }
    const prefix = filter.slice(0, wildcard).replace(/\/$/, '')
    const matches = topicMatcher(filter)
    const found: AedesPublishPacket[] = []
    for (const [topic, packet] of this.retainedMessages)
      if (topic.startsWith(prefix) && matches(topic)) found.push(packet)
    return found
  }
}
