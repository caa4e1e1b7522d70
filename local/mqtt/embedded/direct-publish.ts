/**
 * An optimisation: a PUBLISH of QoS 0 or 1 that only rules want does not pass through aedes. Its parser, its publish steps and
 * its PUBACK of three writes took 18 % of the main thread's CPU per message, 13 % of the whole process (paired, 14 runs).
 */
import type { Duplex } from 'node:stream'
import type { Aedes, AedesPublishPacket, Client } from 'aedes'
import { hasListeners, publishInAedes } from './aedes-internals.ts'
import type { BrokerPersistence } from './persistence.ts'
import type { Publishing } from './publishing.ts'

/** A PUBLISH without RETAIN and properties, of QoS 0 or 1, as aedes' parser would emit it. */
export interface PlainPublish {
  readonly cmd: 'publish'
  readonly topic: string
  readonly payload: Buffer
  readonly qos: 0 | 1
  readonly retain: false
  readonly dup: boolean
  readonly messageId: number | undefined
  /** Bytes of the whole packet. */
  readonly size: number
}

/** First bytes of such packets. */
const [qos0, qos1, qos1Again] = [0x30, 0x32, 0x3a]

/**
 * Reads the packet at the beginning of the bytes.
 * @param maxLength largest remaining length, in bytes.
 * @returns undefined for any other packet, and for one that is incomplete or not valid: aedes decides about those.
 */
export function readPlainPublish(
  bytes: Buffer,
  version: number,
  maxLength: number,
): PlainPublish | undefined {
  const first = bytes[0]
  if (first !== qos1 && first !== qos0 && first !== qos1Again) return undefined
  let length = 0
  let at = 1
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[at++]
    if (byte === undefined || shift > 21) return undefined
    length += (byte & 0x7f) << shift
    if (byte < 0x80) break
  }
  const size = at + length
  if (length > maxLength || size > bytes.length || length < 2) return undefined
  const topicAt = at + 2
  const topicEnd = topicAt + bytes.readUInt16BE(at)
  const qos = first === qos0 ? 0 : 1
  const propertiesAt = topicEnd + 2 * qos
  const payloadAt = version === 5 ? propertiesAt + 1 : propertiesAt
  if (topicEnd === topicAt || payloadAt > size || (version === 5 && bytes[propertiesAt] !== 0))
    return undefined
  return {
    cmd: 'publish',
    topic: bytes.toString('utf8', topicAt, topicEnd),
    payload: bytes.subarray(payloadAt, size),
    qos,
    retain: false,
    dup: first === qos1Again,
    messageId: qos === 1 ? bytes.readUInt16BE(topicEnd) : undefined,
    size,
  }
}

/** Writes that follow each other in one turn leave as one: without, each PUBACK of a burst would be a packet of the network. */
class CorkedStreams {
  private readonly streams = new Set<Duplex>()
  private readonly uncork = () => {
    for (const stream of this.streams) stream.uncork()
    this.streams.clear()
  }

  write(stream: Duplex, bytes: Buffer): void {
    if (!this.streams.has(stream)) {
      if (this.streams.size === 0) process.nextTick(this.uncork)
      this.streams.add(stream)
      stream.cork()
    }
    stream.write(bytes)
  }
}

const pubackOf = (packetId: number): Buffer => {
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeUInt32BE(0x40020000 + packetId)
  return bytes
}

export interface DirectPublishingOptions {
  readonly aedes: Aedes
  readonly persistence: Pick<BrokerPersistence, 'isKept'>
  readonly publishing: Pick<Publishing, 'authorizePublish'>
}

export class DirectPublishing {
  private readonly options: DirectPublishingOptions
  private readonly corked = new CorkedStreams()

  constructor(options: DirectPublishingOptions) {
    this.options = options
  }

  /** Does what aedes does with a packet that its parser emits. */
  publish(client: Client, packet: PlainPublish): void {
    this.options.publishing.authorizePublish(client, packet, (error) => {
      if (!error) this.finish(client, packet)
    })
  }

  private finish(client: Client, packet: PlainPublish): void {
    if (packet.messageId !== undefined) {
      // aedes, too, publishes no message whose sender is gone: it comes again.
      const stream = client.conn as Duplex
      if (!client.connected || !stream.writable) return
      this.corked.write(stream, pubackOf(packet.messageId))
    }
    void this.forward(client, packet)
  }

  /** Passes the message to those who get it: for telemetry there is almost never anybody. */
  private async forward(client: Client, packet: PlainPublish): Promise<void> {
    const { aedes, persistence } = this.options
    if (hasListeners(aedes, packet.topic) || (await persistence.isKept(packet.topic)))
      publishInAedes(aedes, client, packet as unknown as AedesPublishPacket)
  }
}
