/**
 * Flow control of the embedded broker: bounds the messages in progress and leaves turns of the event loop to HTTP. The throttle
 * holds back the messages of a device that sends faster than its rate limit, in their order.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { type BrokerLog, inflightWindow } from './options.ts'

/** A connection, as flow control sees it. */
export interface MessageSource {
  /** Packets that it may be given now; 0 while enough messages of its own are in progress. */
  room(): number
  /** Hands on up to `packets` packets and returns how many of them are messages (PUBLISH). */
  release(packets: number): number
  /** True when packets are waiting. */
  waiting(): boolean
}

/** Messages per turn. With more, other sockets wait too long. With fewer, the turns cost more than the messages. */
const messagesPerTurn = 64

/**
 * Accepts at most `maxInProgress` messages, from all sources by turns. In one turn of the event loop sources are served at once
 * for `turnMs` ms; after that each turn accepts {@link messagesPerTurn} messages, so that other sockets are served too.
 */
export class FlowControl {
  private readonly maxInProgress: number
  private readonly turnMs: number
  /** Sources with packets, in the order of their turns. */
  private readonly queue = new Set<MessageSource>()
  /** Messages that wait for a place, oldest first. */
  private readonly waitingForPlace: (() => void)[] = []
  private inProgressCount = 0
  private turnStarted: number | undefined
  private scheduled = false
  private closed = false

  constructor({ maxInProgress, turnMs }: { maxInProgress: number; turnMs: number }) {
    this.maxInProgress = maxInProgress
    this.turnMs = turnMs
  }

  /** Packets are waiting at this source: it releases them now, or when its turn comes. */
  request(source: MessageSource): void {
    if (this.closed || this.queue.has(source)) return
    if (this.queue.size === 0 && this.inProgressCount < this.maxInProgress && this.inTime())
      this.serve(source)
    else this.queue.add(source)
    this.schedule()
  }

  /** Counts a message that no source released. Returns a promise when the message has to wait for a place. */
  enter(): Promise<void> | undefined {
    if (this.inProgressCount < this.maxInProgress || this.closed) {
      this.inProgressCount++
      return undefined
    }
    return new Promise((resolve) => {
      this.waitingForPlace.push(resolve)
    })
  }

  /** Gives back the places of messages that are done or held back. */
  leave(messages: number): void {
    for (let left = messages; left > 0; left--) {
      // A place that goes to a waiting message stays counted.
      const next = this.waitingForPlace.shift()
      if (next === undefined) this.inProgressCount--
      else next()
    }
    this.schedule()
  }

  /** Releases no more packets. */
  close(): void {
    this.closed = true
    this.queue.clear()
    this.inProgressCount += this.waitingForPlace.length
    for (const next of this.waitingForPlace.splice(0)) next()
  }

  /** Messages that are accepted and not done. */
  inProgress(): number {
    return this.inProgressCount
  }

  private inTime(): boolean {
    if (this.turnStarted !== undefined) return performance.now() - this.turnStarted < this.turnMs
    this.turnStarted = performance.now()
    setImmediate(() => {
      this.turnStarted = undefined
    })
    return true
  }

  private schedule(): void {
    if (this.scheduled || this.closed || this.queue.size === 0 || this.inProgressCount >= this.maxInProgress)
      return
    this.scheduled = true
    setImmediate(() => this.nextTurn())
  }

  private serve(source: MessageSource): void {
    const room = Math.min(source.room(), this.maxInProgress - this.inProgressCount)
    if (room > 0) this.inProgressCount += source.release(room)
    if (source.waiting() && source.room() > 0) this.queue.add(source)
  }

  /** Released packets are parsed and handled before the next turn begins. */
  private nextTurn(): void {
    this.scheduled = false
    const most = Math.min(this.inProgressCount + messagesPerTurn, this.maxInProgress)
    let served = 0
    for (const source of this.queue) {
      if (this.closed || this.inProgressCount >= most || served === messagesPerTurn) break
      served += 1
      this.queue.delete(source)
      this.serve(source)
    }
    this.schedule()
  }
}

/** Messages of one principal that are held back. */
interface ThrottleQueue {
  count: number
  /** Resolves when the last message of the queue may pass. */
  last: Promise<void>
}

export interface ThrottleOptions {
  /** See `BrokerOptions.throttle`. */
  readonly count: ((principalId: string) => number | Promise<number>) | undefined
  readonly flowControl: FlowControl
  /** Aborted when the broker closes: messages that are held back pass at once. */
  readonly closing: AbortSignal
  /** Called when a principal whose queue was full may send again. */
  roomAgain(principalId: string): void
  readonly log: BrokerLog
}

/** Holds back messages of principals over their rate limit. It drops none and keeps their order. */
export class Throttle {
  private readonly options: ThrottleOptions
  private readonly queues = new Map<string, ThrottleQueue>()

  constructor(options: ThrottleOptions) {
    this.options = options
  }

  /** True when messages are counted at all. */
  get enabled(): boolean {
    return this.options.count !== undefined
  }

  /**
   * True when a whole window of the principal's messages is held back: a device that reconnects meanwhile may not add another
   * window each time.
   */
  isFull(principalId: string): boolean {
    return this.queues.size > 0 && (this.queues.get(principalId)?.count ?? 0) >= inflightWindow
  }

  /** Time until the next message of the principal may pass, ms; 0 when it is counted and passes now. */
  waitMs(principalId: string): number | Promise<number> {
    // A message never overtakes those of its principal that are held back.
    return this.queues.has(principalId) ? 1 : this.count(principalId)
  }

  /**
   * Resolves when the message may pass. It keeps its position until the returned function is called, so that later messages
   * stay behind it.
   * @param firstWaitMs time until the first try, ms.
   */
  async holdBack(principalId: string, firstWaitMs: number): Promise<() => void> {
    const { flowControl } = this.options
    // A message that is held back takes no place away from other clients.
    flowControl.leave(1)
    const queue = this.queues.get(principalId) ?? { count: 0, last: Promise.resolve() }
    this.queues.set(principalId, queue)
    const isFirst = queue.count === 0
    queue.count++
    queue.last = this.pass(principalId, queue.last, isFirst ? firstWaitMs : undefined)
    await queue.last
    await flowControl.enter()
    return () => this.leave(principalId, queue)
  }

  /** Waits for the message before it and then for a place: only the first of a queue asks, so the limiter is asked once. */
  private async pass(
    principalId: string,
    before: Promise<void>,
    firstWaitMs: number | undefined,
  ): Promise<void> {
    const { closing } = this.options
    await before
    let waitMs = firstWaitMs ?? (await this.count(principalId))
    while (waitMs > 0 && !closing.aborted) {
      await sleep(waitMs, undefined, { signal: closing }).catch(() => undefined)
      waitMs = await this.count(principalId)
    }
  }

  private leave(principalId: string, queue: ThrottleQueue): void {
    queue.count--
    if (queue.count === 0) this.queues.delete(principalId)
    if (queue.count === inflightWindow - 1) this.options.roomAgain(principalId)
  }

  private count(principalId: string): number | Promise<number> {
    const { count, closing, log } = this.options
    if (closing.aborted || count === undefined) return 0
    const failed = (error: unknown) => {
      log('warn', 'mqtt throttle failed', { device: principalId, error })
      return 0
    }
    try {
      const waitMs = count(principalId)
      return typeof waitMs === 'number' ? waitMs : waitMs.catch(failed)
    } catch (error) {
      return failed(error)
    }
  }
}
