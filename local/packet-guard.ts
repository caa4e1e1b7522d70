/**
 * What is let in. A guard stands between each transport and the MQTT parser: it reads fixed headers as bytes come, so
 * that a packet that is too large ends the connection before it is buffered, and hands packets on as it is told. One
 * gate tells all guards, so that messages are bounded and a flood leaves the process time for other work.
 */
import type { Duplex } from 'node:stream'

export interface GuardLimits {
  /** Bytes in all before `open()`. */
  readonly preConnectBytes: number
  /** Largest remaining length of a PUBLISH, in bytes: topic, packet id and payload. */
  readonly publishBytes: number
  /** Largest remaining length of any other packet, in bytes. */
  readonly controlBytes: number
}

export interface PacketGuard {
  /** The client is authenticated: the limit on the first bytes ends, and what waits may be released. */
  open(): void
  /** Hands on up to `packets` packets that have arrived, and a last incomplete one. Returns how many were PUBLISH. */
  release(packets: number): number
  /** Whether bytes wait that `release` would hand on. */
  waiting(): boolean
  /** Milliseconds since the epoch when the packet that is still incomplete began; undefined when there is none. */
  incompleteSince(): number | undefined
}

export interface GuardEvents {
  /** Called once; the owner ends the connection. Nothing is handed on any more. */
  breach(reason: string): void
  /** Bytes wait: the owner calls `release` now or later. */
  ready(): void
}

/** One chunk of so many bytes may wait while the transport is read on: to stop and start it costs as much as a message. */
const readOnBytes = 4096

const connectType = 0x10
const publishType = 3

/** Attaches to a stream nobody has read from yet: a socket, a TLS socket or a WebSocket's duplex. */
export function guardPackets(stream: Duplex, limits: GuardLimits, events: GuardEvents): PacketGuard {
  const push = stream.push.bind(stream)
  const read = stream._read.bind(stream)
  let chunks: Buffer[] = []
  let ended = false
  let breached = false
  let opened = false
  let connectBegun = false
  let connectDone = false
  let received = 0
  let flowing = true

  let firstByte = -1
  let shift = 0
  let length = 0
  let bodyLeft = 0
  let startedAt: number | undefined
  /** Since when bytes wait here. */
  let heldAt: number | undefined

  const breach = (reason: string) => {
    if (breached) return
    breached = true
    chunks = []
    events.breach(reason)
  }

  const limitOf = (type: number): number => {
    if (!opened) return limits.preConnectBytes
    return type >> 4 === publishType ? limits.publishBytes : limits.controlBytes
  }

  /** Reads one byte of a fixed header; false when it breaks the protocol or a limit. */
  const header = (byte: number): boolean => {
    if (firstByte < 0) {
      if (!connectBegun && byte !== connectType) return false
      connectBegun = true
      firstByte = byte
      shift = 0
      length = 0
      return true
    }
    length += (byte & 0x7f) << shift
    if ((byte & 0x80) !== 0) {
      shift += 7
      // The length has four bytes at most; what it is after three is already too much for any limit of ours.
      return shift <= 21 && length <= limitOf(firstByte)
    }
    bodyLeft = length
    return length <= limitOf(firstByte)
  }

  /** Reads on until `packets` more are complete or the chunk ends; undefined after a breach. */
  const scan = (chunk: Buffer, packets: number) => {
    let at = 0
    let complete = 0
    let publishes = 0
    while (at < chunk.length && complete < packets) {
      if (bodyLeft > 0) {
        const step = Math.min(bodyLeft, chunk.length - at)
        bodyLeft -= step
        at += step
      } else {
        const byte = chunk[at++] as number
        const headerEnds = firstByte >= 0 && (byte & 0x80) === 0
        if (!header(byte)) {
          breach(
            firstByte < 0
              ? 'the first packet is no CONNECT'
              : 'a packet is too large or its length malformed',
          )
          return undefined
        }
        if (!headerEnds) continue
      }
      if (bodyLeft > 0) continue
      complete++
      if (firstByte >> 4 === publishType) publishes++
      firstByte = -1
      startedAt = undefined
      connectDone = true
    }
    return { at, complete, publishes }
  }

  const release = (packets: number): number => {
    let publishes = 0
    // The time in which we hold bytes back does not count against the client.
    if (startedAt !== undefined && heldAt !== undefined) startedAt += Date.now() - heldAt
    let left = opened ? packets : connectDone ? 0 : 1
    while (left > 0 && chunks.length > 0) {
      const chunk = chunks[0] as Buffer
      const found = scan(chunk, left)
      if (found === undefined) return publishes
      left -= found.complete
      publishes += found.publishes
      if (found.at === chunk.length) {
        chunks.shift()
        flowing = push(chunk)
      } else {
        chunks[0] = chunk.subarray(found.at)
        flowing = push(chunk.subarray(0, found.at))
      }
    }
    heldAt = chunks.length > 0 ? Date.now() : undefined
    if (firstByte >= 0) startedAt ??= Date.now()
    if (ended && chunks.length === 0) push(null)
    return publishes
  }

  const waiting = () => chunks.length > 0 && (opened || !connectDone)

  const take = (): boolean => {
    if (!waiting()) return false
    if (opened) events.ready()
    else release(1)
    return true
  }

  stream.push = (chunk: Buffer | null) => {
    if (breached || stream.destroyed) return false
    if (chunk === null) {
      ended = true
      return chunks.length === 0 ? push(null) : false
    }
    received += chunk.length
    if (!opened && received > limits.preConnectBytes) {
      breach('too many bytes before the client was authenticated')
      return false
    }
    chunks.push(chunk)
    take()
    if (chunks.length > 0) heldAt ??= Date.now()
    const [first] = chunks
    return flowing && (first === undefined || (chunks.length === 1 && first.length <= readOnBytes))
  }

  // The transport is asked for more only when nothing waits here; so at most two chunks do.
  stream._read = (size: number) => {
    if (breached || take() || chunks.length > 0) return
    read(size)
  }

  return {
    open() {
      opened = true
      take()
    },
    release: (packets) => (breached || stream.destroyed ? 0 : release(packets)),
    waiting,
    incompleteSince: () => (chunks.length > 0 ? undefined : startedAt),
  }
}

/** Ends a raw connection that sends more than `bytes` in all before the returned function is called. */
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

/** One connection, as the gate sees it. */
export interface Door {
  /** How many packets it may be handed now; 0 while enough of its own are under way. */
  room(): number
  /** Hands on up to `packets` packets and returns how many messages (PUBLISH) they were. */
  release(packets: number): number
  waiting(): boolean
}

export interface Gate {
  /** Packets wait at this door: they are released now, or in its turn. */
  ask(door: Door): void
  /** Counts a message that came through no door or comes back; a promise when it has to wait for a place. */
  enter(): Promise<void> | undefined
  /** Messages are done, or sleep. */
  leave(messages: number): void
  /** Releases nothing more. */
  close(): void
  /** Messages that are let in and not done. */
  held(): number
}

/** Messages of one turn: more, and other sockets wait too long; fewer, and the turns themselves cost more than they do. */
const messagesPerTurn = 64

/**
 * Lets in at most `maxHeld` messages, from all doors by turns. In one turn of the event loop doors are served at once
 * for `turnMs` ms; after that so many per turn as have {@link messagesPerTurn} messages, so that other sockets get theirs.
 */
export function createGate({ maxHeld, turnMs }: { maxHeld: number; turnMs: number }): Gate {
  /** Doors with packets, in the order of their turns. */
  const line = new Set<Door>()
  const places: (() => void)[] = []
  let held = 0
  let turnStarted: number | undefined
  let scheduled = false
  let closed = false

  const inTime = (): boolean => {
    if (turnStarted !== undefined) return performance.now() - turnStarted < turnMs
    turnStarted = performance.now()
    setImmediate(() => {
      turnStarted = undefined
    })
    return true
  }

  const schedule = () => {
    if (scheduled || closed || line.size === 0 || held >= maxHeld) return
    scheduled = true
    setImmediate(nextTurn)
  }

  const serve = (door: Door) => {
    const room = Math.min(door.room(), maxHeld - held)
    if (room > 0) held += door.release(room)
    if (door.waiting() && door.room() > 0) line.add(door)
  }

  // What doors hand on is parsed and handled before the next turn begins.
  const nextTurn = () => {
    scheduled = false
    const most = Math.min(held + messagesPerTurn, maxHeld)
    let doors = 0
    for (const door of line) {
      if (closed || held >= most || doors === messagesPerTurn) break
      doors += 1
      line.delete(door)
      serve(door)
    }
    schedule()
  }

  return {
    ask(door) {
      if (closed || line.has(door)) return
      if (line.size === 0 && held < maxHeld && inTime()) serve(door)
      else line.add(door)
      schedule()
    },
    enter() {
      if (held < maxHeld || closed) {
        held++
        return undefined
      }
      return new Promise((resolve) => {
        places.push(resolve)
      })
    },
    leave(messages) {
      for (let left = messages; left > 0; left--) {
        // A place that is taken over stays counted.
        const next = places.shift()
        if (next === undefined) held--
        else next()
      }
      schedule()
    },
    close() {
      closed = true
      line.clear()
      held += places.length
      for (const next of places.splice(0)) next()
    },
    held: () => held,
  }
}
