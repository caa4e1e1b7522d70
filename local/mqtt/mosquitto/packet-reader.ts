/**
 * Reads what a broker sends. Nearly every packet is a message without properties: this file reads those itself, for about a third
 * of the CPU of mqtt-packet, which takes 4 µs a message, and leaves all others to that library.
 */
import mqttPacket, { type IPublishPacket, type Packet } from 'mqtt-packet'

/** A message that the broker sends. */
export interface ReceivedMessage {
  readonly topic: string
  /** Its own copy: a part of what the socket has read would keep all of that in memory. */
  readonly payload: Buffer
  readonly qos: 0 | 1 | 2
  /** Packet id; 0 with QoS 0. */
  readonly id: number
  readonly dup: boolean
  readonly retain: boolean
  /** Of MQTT 5. */
  readonly correlationData: Buffer | undefined
}

export interface PacketHandlers {
  onMessage(message: ReceivedMessage): void
  onPacket(packet: Packet): void
  /** The bytes are no MQTT; nothing more can be read. */
  onError(): void
}

const [publish, retainBit, dupBit] = [0x30, 0x01, 0x08] as const
const none = Buffer.alloc(0)

/** Place and value of the remaining length at the begin of a packet; undefined while bytes are missing. */
const lengthAt = (bytes: Buffer, at: number): { next: number; length: number } | undefined => {
  let length = 0
  for (let next = at, shift = 0; next < bytes.length && shift < 28; next += 1, shift += 7) {
    const byte = bytes[next] ?? 0
    length += (byte & 0x7f) << shift
    if (byte < 0x80) return { next: next + 1, length }
  }
  return undefined
}

const copyOf = (bytes: Buffer, from: number, to: number): Buffer => {
  if (from === to) return none
  const copy = Buffer.allocUnsafe(to - from)
  bytes.copy(copy, 0, from, to)
  return copy
}

const messageOf = (packet: IPublishPacket): ReceivedMessage => ({
  topic: packet.topic,
  payload: Buffer.from(packet.payload as Buffer),
  qos: packet.qos,
  id: packet.messageId ?? 0,
  dup: packet.dup,
  retain: packet.retain,
  correlationData: packet.properties?.correlationData,
})

export class PacketReader {
  private readonly version: 4 | 5
  private readonly handlers: PacketHandlers
  private readonly parser: ReturnType<typeof mqttPacket.parser>
  /** The begin of a packet whose other bytes are still to come, and how many more are needed to go on. */
  private parts: Buffer[] = []
  private missing = 0

  /** @param version 5, or 4 for MQTT 3.1.1. */
  constructor(version: 4 | 5, handlers: PacketHandlers) {
    this.version = version
    this.handlers = handlers
    this.parser = mqttPacket.parser({ protocolVersion: version })
    this.parser.on('packet', (packet: Packet) => {
      if (packet.cmd === 'publish') handlers.onMessage(messageOf(packet))
      else handlers.onPacket(packet)
    })
    this.parser.on('error', () => handlers.onError())
  }

  read(chunk: Buffer): void {
    this.parts.push(chunk)
    this.missing -= chunk.length
    // To join a large packet anew with each chunk would copy it hundreds of times.
    if (this.missing > 0) return
    const bytes = this.parts.length === 1 ? chunk : Buffer.concat(this.parts)
    let at = 0
    let needed = 0
    while (at < bytes.length) {
      const found = lengthAt(bytes, at + 1)
      if (found === undefined && bytes.length - at > 4) {
        this.handlers.onError()
        return
      }
      const end = found === undefined ? bytes.length + 1 : found.next + found.length
      needed = end - bytes.length
      if (found === undefined || needed > 0) break
      const message = this.plainMessage(bytes, at, found.next, end)
      if (message === undefined) this.parser.parse(bytes.subarray(at, end))
      else this.handlers.onMessage(message)
      at = end
    }
    this.parts = at === bytes.length ? [] : [bytes.subarray(at)]
    this.missing = Math.max(0, needed)
  }

  /** @returns undefined for another packet, and for a message with anything unusual. */
  private plainMessage(bytes: Buffer, at: number, body: number, end: number): ReceivedMessage | undefined {
    const head = bytes[at] ?? 0
    const qos = (head >> 1) & 3
    if ((head & 0xf0) !== publish || qos > 1) return undefined
    const topicEnd = body + 2 + (((bytes[body] ?? 0) << 8) | (bytes[body + 1] ?? 0))
    let from = topicEnd + 2 * qos
    const id = qos === 0 ? 0 : ((bytes[topicEnd] ?? 0) << 8) | (bytes[topicEnd + 1] ?? 0)
    if (this.version === 5) {
      // The length of the properties.
      if (bytes[from] !== 0) return undefined
      from += 1
    }
    if (from > end || topicEnd === body + 2) return undefined
    return {
      topic: bytes.toString('utf8', body + 2, topicEnd),
      payload: copyOf(bytes, from, end),
      qos: qos as 0 | 1,
      id,
      dup: (head & dupBit) !== 0,
      retain: (head & retainBit) !== 0,
      correlationData: undefined,
    }
  }
}
