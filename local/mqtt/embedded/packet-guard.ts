/**
 * Stands between a transport and the MQTT parser. It reads fixed headers while bytes arrive, so that a packet that is too large
 * closes the connection before it is buffered, and it hands on packets only when flow control releases them.
 */
import type { Duplex } from 'node:stream'
import { reasonCodes } from './options.ts'

export interface GuardLimits {
  /** Bytes that may arrive in all before `open()`. */
  readonly preConnectBytes: number
  /** Largest remaining length of a PUBLISH, in bytes: topic, packet id and payload. */
  readonly publishBytes: number
  /** Largest remaining length of any other packet, in bytes. */
  readonly controlBytes: number
}

export interface GuardEvents {
  /**
   * Called once; the owner closes the connection. No more bytes are handed on.
   * @param code reason code of MQTT 5.
   */
  breach(reason: string, code: number): void
  /** Bytes are waiting: the owner calls `release` now or later. */
  ready(): void
  /**
   * Offers bytes at whose beginning a packet begins, while the parser has none. The owner may take a PUBLISH that is complete.
   * @returns its bytes; 0: they are handed on.
   */
  take(bytes: Buffer): number
}

/** Bytes that may wait while the transport is still read: to pause and resume it costs as much as a message. */
const readAheadBytes = 4096

const connectByte = 0x10
const publishType = 3

interface Scan {
  /** Bytes of the chunk that were read. */
  readonly bytes: number
  /** Packets that are complete. */
  readonly packets: number
  /** How many of them are PUBLISH. */
  readonly publishes: number
}

/** Follows the fixed headers of a stream of MQTT packets, across the borders of chunks. */
class HeaderScanner {
  private readonly limits: GuardLimits
  private connectBegun = false
  /** The first packet, which is a CONNECT, is complete. */
  connectDone = false
  private firstByte = -1
  private shift = 0
  private length = 0
  private bodyLeft = 0

  constructor(limits: GuardLimits) {
    this.limits = limits
  }

  /** True between the first byte of a packet and its last. */
  get insidePacket(): boolean {
    return this.firstByte >= 0
  }

  private limitOf(opened: boolean): number {
    if (!opened) return this.limits.preConnectBytes
    return this.firstByte >> 4 === publishType ? this.limits.publishBytes : this.limits.controlBytes
  }

  /** Reads one byte of a fixed header. @returns false when it breaks the protocol or a limit. */
  private readHeaderByte(byte: number, opened: boolean): boolean {
    if (this.firstByte < 0) {
      if (!this.connectBegun && byte !== connectByte) return false
      this.connectBegun = true
      this.firstByte = byte
      this.shift = 0
      this.length = 0
      return true
    }
    this.length += (byte & 0x7f) << this.shift
    if ((byte & 0x80) !== 0) {
      this.shift += 7
      // A length has four bytes at most, and three of them already exceed every limit here.
      return this.shift <= 21 && this.length <= this.limitOf(opened)
    }
    this.bodyLeft = this.length
    return this.length <= this.limitOf(opened)
  }

  /**
   * Reads until `packets` more packets are complete or the chunk ends.
   * @param opened the client is authenticated.
   * @returns undefined when a packet breaks the protocol or a limit.
   */
  scan(chunk: Buffer, packets: number, opened: boolean): Scan | undefined {
    let bytes = 0
    let complete = 0
    let publishes = 0
    while (bytes < chunk.length && complete < packets) {
      if (this.bodyLeft > 0) {
        const step = Math.min(this.bodyLeft, chunk.length - bytes)
        this.bodyLeft -= step
        bytes += step
      } else {
        const byte = chunk[bytes++] as number
        const headerEnds = this.firstByte >= 0 && (byte & 0x80) === 0
        if (!this.readHeaderByte(byte, opened)) return undefined
        if (!headerEnds) continue
      }
      if (this.bodyLeft > 0) continue
      complete++
      if (this.firstByte >> 4 === publishType) publishes++
      this.firstByte = -1
      this.connectDone = true
    }
    return { bytes, packets: complete, publishes }
  }
}

/** Takes over `push` and `_read` of a stream that nobody has read from yet: a socket, a TLS socket or a WebSocket's duplex. */
export class PacketGuard {
  private readonly stream: Duplex
  private readonly limits: GuardLimits
  private readonly events: GuardEvents
  private readonly scanner: HeaderScanner
  private readonly pushOn: (chunk: Buffer | null) => boolean
  private readonly readOn: (size: number) => void
  private chunks: Buffer[] = []
  private ended = false
  private breached = false
  private opened = false
  private received = 0
  /** The reader wants more, by the last answer of `push`. */
  private flowing = true
  /** The transport was told to stop reading. */
  private stopped = false
  /** Time at which the packet began that is incomplete, ms since the epoch. */
  private packetStartedAt: number | undefined
  /** Time since which bytes wait here, ms since the epoch. */
  private heldAt: number | undefined

  constructor(stream: Duplex, limits: GuardLimits, events: GuardEvents) {
    this.stream = stream
    this.limits = limits
    this.events = events
    this.scanner = new HeaderScanner(limits)
    this.pushOn = stream.push.bind(stream)
    this.readOn = stream._read.bind(stream)
    stream.push = (chunk: Buffer | null) => this.accept(chunk)
    // The transport is asked for more only when nothing waits here, so at most two chunks do.
    stream._read = (size: number) => {
      if (!this.breached && !this.offer() && this.chunks.length === 0) this.readFrom(size)
    }
  }

  /** Call it when the client is authenticated: ends the limit on the first bytes and allows `release`. */
  open(): void {
    this.opened = true
    this.offer()
  }

  /** True when bytes are waiting that `release` would hand on. */
  waiting(): boolean {
    return this.chunks.length > 0 && (this.opened || !this.scanner.connectDone)
  }

  /** Time at which the packet began that is still incomplete, ms since the epoch; undefined when there is none. */
  incompleteSince(): number | undefined {
    return this.chunks.length > 0 ? undefined : this.packetStartedAt
  }

  /** Hands on up to `packets` packets that have arrived, and a last incomplete one. Returns how many were PUBLISH. */
  release(packets: number): number {
    if (this.breached || this.stream.destroyed) return 0
    // The time in which bytes were held back here does not count against the client.
    if (this.packetStartedAt !== undefined && this.heldAt !== undefined)
      this.packetStartedAt += Date.now() - this.heldAt
    let publishes = 0
    let left = this.opened ? packets : this.scanner.connectDone ? 0 : 1
    const taken = this.takeDirectly(left)
    publishes += taken
    left -= taken
    while (left > 0) {
      const [chunk] = this.chunks
      if (chunk === undefined) break
      const scan = this.scanner.scan(chunk, left, this.opened)
      if (scan === undefined) {
        if (this.scanner.insidePacket)
          this.breach('a packet is too large or its length is malformed', reasonCodes.packetTooLarge)
        else this.breach('the first packet is not CONNECT', reasonCodes.protocolError)
        return publishes
      }
      left -= scan.packets
      publishes += scan.publishes
      if (scan.packets > 0) this.packetStartedAt = undefined
      this.handOn(chunk, scan.bytes)
    }
    this.heldAt = this.chunks.length > 0 ? Date.now() : undefined
    if (this.scanner.insidePacket) this.packetStartedAt ??= Date.now()
    if (this.ended && this.chunks.length === 0) this.pushOn(null)
    else if (this.stopped && this.flowing && this.chunks.length === 0) this.readFrom(0)
    return publishes
  }

  /** Lets the owner take packets before the parser gets any: later ones would overtake those that the parser has. */
  private takeDirectly(packets: number): number {
    if (!this.opened || this.scanner.insidePacket || this.stream.readableLength > 0) return 0
    let taken = 0
    for (let [chunk] = this.chunks; chunk !== undefined && taken < packets; [chunk] = this.chunks) {
      const bytes = this.events.take(chunk)
      if (bytes === 0) break
      taken++
      if (bytes === chunk.length) this.chunks.shift()
      else this.chunks[0] = chunk.subarray(bytes)
    }
    // The parser has read all that it has got.
    if (taken > 0) this.flowing = true
    return taken
  }

  private readFrom(size: number): void {
    this.stopped = false
    this.readOn(size)
  }

  private handOn(chunk: Buffer, bytes: number): void {
    if (bytes === chunk.length) {
      this.chunks.shift()
      this.flowing = this.pushOn(chunk)
    } else {
      this.chunks[0] = chunk.subarray(bytes)
      this.flowing = this.pushOn(chunk.subarray(0, bytes))
    }
  }

  /** Replaces `push` of the stream. */
  private accept(chunk: Buffer | null): boolean {
    if (this.breached || this.stream.destroyed) return false
    if (chunk === null) {
      this.ended = true
      return this.chunks.length === 0 ? this.pushOn(null) : false
    }
    this.received += chunk.length
    if (!this.opened && this.received > this.limits.preConnectBytes) {
      this.breach('too many bytes before the client was authenticated', reasonCodes.packetTooLarge)
      return false
    }
    this.chunks.push(chunk)
    this.offer()
    if (this.chunks.length > 0) this.heldAt ??= Date.now()
    const [first] = this.chunks
    const goesOn =
      this.flowing && (first === undefined || (this.chunks.length === 1 && first.length <= readAheadBytes))
    this.stopped = !goesOn
    return goesOn
  }

  /** Tells the owner of waiting bytes, or hands on the CONNECT. Returns false when nothing is waiting. */
  private offer(): boolean {
    if (!this.waiting()) return false
    if (this.opened) this.events.ready()
    else this.release(1)
    return true
  }

  private breach(reason: string, code: number): void {
    if (this.breached) return
    this.breached = true
    this.chunks = []
    this.events.breach(reason, code)
  }
}

/** Closes a raw connection that sends more than `bytes` in all before the returned function is called. */
export function limitBytes(stream: Duplex, bytes: number, breach: () => void): () => void {
  const push = stream.push
  let left = bytes
  stream.push = (chunk: Buffer | null, encoding?: BufferEncoding) => {
    if (chunk !== null) left -= chunk.length
    if (left >= 0) return push.call(stream, chunk, encoding)
    breach()
    return false
  }
  return () => {
    stream.push = push
  }
}
