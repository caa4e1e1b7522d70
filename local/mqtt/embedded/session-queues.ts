/** Messages with QoS 1 or 2 that wait for the clients of sessions, or for their acknowledgements. In memory, and bounded. */
import type { AedesPublishPacket } from 'aedes'
import { commandOf } from './commands.ts'

/** Messages of one session. Of too many, the oldest ones that were not sent yet are dropped. */
const maxMessages = 1000
/** Bytes of the payloads of one session. */
const maxBytes = 1024 * 1024

/** A message, or the PUBREL that follows it. */
export type QueuedPacket = Partial<Omit<AedesPublishPacket, 'cmd' | 'messageId'>> & {
  readonly cmd?: string
  /** Undefined until the message is sent. */
  messageId?: number | undefined
}

interface Queue {
  readonly packets: QueuedPacket[]
  bytes: number
}

const bytesOf = ({ payload }: QueuedPacket): number => payload?.length ?? 0

export class SessionQueues {
  private readonly mayReceive: (clientId: string, packet: AedesPublishPacket) => boolean
  private readonly queues = new Map<string, Queue>()

  /** @param mayReceive false for messages that would never be sent to the client. */
  constructor(mayReceive: (clientId: string, packet: AedesPublishPacket) => boolean) {
    this.mayReceive = mayReceive
  }

  /** Drops a message for which there is no place although all older ones were sent. */
  add(clientId: string, packet: AedesPublishPacket): void {
    if (!this.mayReceive(clientId, packet)) return
    const queue = this.queues.get(clientId) ?? { packets: [], bytes: 0 }
    const bytes = bytesOf(packet)
    while (queue.packets.length >= maxMessages || queue.bytes + bytes > maxBytes) {
      const oldest = queue.packets.findIndex(({ messageId }) => messageId === undefined)
      if (oldest < 0) return
      this.remove(clientId, queue, oldest)
    }
    queue.packets.push({ ...packet, messageId: undefined })
    queue.bytes += bytes
    this.queues.set(clientId, queue)
  }

  /**
   * Notes the packet id of a message that is being sent, or puts a PUBREL in its place.
   * @returns false when there is no such message.
   */
  update(clientId: string, packet: QueuedPacket): boolean {
    const queue = this.queues.get(clientId)
    if (queue === undefined) return false
    const { brokerCounter, brokerId, messageId } = packet
    const own = queue.packets.findIndex((one) =>
      one.brokerId === brokerId ? one.brokerCounter === brokerCounter : one.messageId === messageId,
    )
    const found = queue.packets[own]
    if (found === undefined) return false
    if (found.brokerId === brokerId) found.messageId = messageId
    else {
      queue.bytes += bytesOf(packet) - bytesOf(found)
      queue.packets[own] = packet
    }
    return true
  }

  /** Removes the message with this packet id. */
  take(clientId: string, messageId: number): QueuedPacket | undefined {
    const queue = this.queues.get(clientId)
    const own = queue?.packets.findIndex((one) => one.messageId === messageId) ?? -1
    return queue === undefined || own < 0 ? undefined : this.remove(clientId, queue, own)
  }

  /** The messages of now, oldest first. */
  list(clientId: string): QueuedPacket[] {
    return [...(this.queues.get(clientId)?.packets ?? [])]
  }

  /** Removes commands that the connection before has not confirmed: the registry sends them again, unless they have ended. */
  removeCommands(clientId: string): void {
    const queue = this.queues.get(clientId)
    if (queue === undefined) return
    for (let at = queue.packets.length - 1; at >= 0; at--)
      if (commandOf(queue.packets[at]) !== undefined) this.remove(clientId, queue, at)
  }

  clear(clientId: string): void {
    this.queues.delete(clientId)
  }

  private remove(clientId: string, queue: Queue, at: number): QueuedPacket | undefined {
    const [packet] = queue.packets.splice(at, 1)
    if (packet !== undefined) queue.bytes -= bytesOf(packet)
    if (queue.packets.length === 0) this.queues.delete(clientId)
    return packet
  }
}
