/**
 * The PUBACKs that the bridge owes to its broker. The broker sends a message again until it has the PUBACK, also after a
 * reconnection, so this file recognises messages that are in progress or already stored.
 */
import { createHash } from 'node:crypto'
import type { ReceivedMessage } from './packet-reader.ts'

/** Bytes. Larger payloads are remembered by their digest, so that thousands of them do not fill the memory. */
const largestKeptPayload = 1024

const digestOf = (payload: Buffer): string => createHash('sha256').update(payload).digest('base64')

/** A message that has a packet id. */
export interface KnownMessage {
  readonly id: number
  readonly topic: string
  /** Its payload, or the digest of a large one. */
  readonly content: Buffer | string
  /** It is durable; its PUBACK may have got lost with a connection. */
  durable: boolean
  /** Its PUBACK was written, and may have got lost all the same. */
  acknowledged: boolean
}

const isSame = ({ topic, content }: KnownMessage, other: { topic: string; payload: Buffer }): boolean =>
  topic === other.topic &&
  (typeof content === 'string' ? content === digestOf(other.payload) : content.equals(other.payload))

export class Acknowledgements {
  private readonly write: (bytes: Buffer) => boolean
  private readonly maxInProgress: number
  /** By packet id. They outlive the connection, as the packet ids do. */
  private readonly known = new Map<number, KnownMessage>()
  /**
   * The messages that were acknowledged last, each at the place of its turn. The broker has at most `maxInProgress` messages in
   * progress, so only the last `maxInProgress` PUBACKs can have got lost with a connection.
   */
  private acknowledged: KnownMessage[] = []
  private turn = 0
  private queue: number[] = []

  /** @param write sends bytes to the broker; returns false when it is not connected. */
  constructor(write: (bytes: Buffer) => boolean, maxInProgress: number) {
    this.write = write
    this.maxInProgress = maxInProgress
  }

  /**
   * Begins a message with a packet id.
   * @param received `dup`: the broker says that it may have sent the message before. Nobody changes its payload.
   * @returns undefined for a repetition: it is acknowledged here, now or when the first one is durable.
   */
  begin(received: Pick<ReceivedMessage, 'id' | 'topic' | 'payload' | 'dup'>): KnownMessage | undefined {
    const { id, topic, payload, dup } = received
    const known = dup ? this.known.get(id) : undefined
    if (known !== undefined && isSame(known, received)) {
      // A message of its own, which is remembered from its own PUBACK on.
      if (known.acknowledged) this.known.set(id, { ...known, acknowledged: false })
      if (known.durable) this.acknowledge(id)
      return undefined
    }
    const content = payload.length <= largestKeptPayload ? payload : digestOf(payload)
    const message: KnownMessage = { id, topic, content, durable: false, acknowledged: false }
    this.known.set(id, message)
    return message
  }

  /** The message is durable: acknowledges it, unless the broker forgot the session and gave its id to another message. */
  complete(message: KnownMessage): void {
    message.durable = true
    if (this.known.get(message.id) === message) this.acknowledge(message.id)
  }

  /** Queues a PUBACK. Those of one turn of the event loop are written together. */
  acknowledge(id: number): void {
    if (this.queue.length === 0) setImmediate(() => this.flush())
    this.queue.push(id)
  }

  /** Writes the queued PUBACKs. Without a connection they are dropped: the broker sends those messages again. */
  flush(): void {
    const ids = this.queue
    if (ids.length === 0) return
    this.queue = []
    const bytes = Buffer.allocUnsafe(ids.length * 4)
    let at = 0
    for (const id of ids) {
      bytes.writeUInt16BE(0x4002, at)
      bytes.writeUInt16BE(id, at + 2)
      at += 4
    }
    if (!this.write(bytes)) return
    for (const id of ids) this.remember(id)
  }

  /** The broker has a new session: packet ids of the old one mean nothing any more. */
  forgetSession(): void {
    for (const [id, { durable }] of this.known) if (durable) this.known.delete(id)
    this.acknowledged = []
    this.turn = 0
  }

  private remember(id: number): void {
    const message = this.known.get(id)
    if (message === undefined || message.acknowledged) return
    message.acknowledged = true
    const oldest = this.acknowledged[this.turn]
    if (oldest !== undefined && this.known.get(oldest.id) === oldest) this.known.delete(oldest.id)
    this.acknowledged[this.turn] = message
    this.turn = (this.turn + 1) % this.maxInProgress
  }
}
