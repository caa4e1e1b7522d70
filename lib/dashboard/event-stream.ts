/** One open event stream (`text/event-stream`): what waits for a slow reader is bounded, and beyond the bound it skips to the newest. */

/** A message of a stream, without its id: encoded once for all streams. */
export interface StreamMessage {
  readonly event: 'event' | 'reading'
  readonly frame: Uint8Array<ArrayBuffer>
}

/** Bytes that may wait in the response itself before messages wait here. */
const bufferBytes = 64 * 1024
/** Messages, and their bytes, that wait for the reader at most. */
const maxWaiting = 500
const maxWaitingBytes = 512 * 1024

const encoder = new TextEncoder()

/** @param id of the newest device event that the reader has got with it. */
const withId = (id: number, frame: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> => {
  const line = encoder.encode(`id: ${id}\n`)
  const whole = new Uint8Array(line.length + frame.length)
  whole.set(line)
  whole.set(frame, line.length)
  return whole
}

/** A message without its id. JSON has no line breaks of its own, so that the data is always one line. */
const frameOf = (event: string, data: unknown): Uint8Array<ArrayBuffer> =>
  encoder.encode(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`)

export const streamMessage = (event: StreamMessage['event'], data: unknown): StreamMessage => ({
  event,
  frame: frameOf(event, data),
})

/** The newest overview, encoded once for all streams. */
export const overviewFrame = (body: unknown): Uint8Array<ArrayBuffer> => frameOf('overview', body)

const keepAlive = encoder.encode(': nothing new\n\n')

interface Waiting {
  readonly event: StreamMessage['event']
  readonly id: number
  readonly frame: Uint8Array<ArrayBuffer>
}

export class EventStream {
  readonly body: ReadableStream<Uint8Array<ArrayBuffer>>
  /** Only readings of this device are sent; undefined: of none. */
  readonly deviceId: number | undefined
  #controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>> | undefined
  #waiting: Waiting[] = []
  #waitingBytes = 0
  #overview: Uint8Array<ArrayBuffer> | undefined
  #skipped = { event: 0, reading: 0 }
  /** The newest device event that was handed in, and the newest one that the reader has got. */
  #newestId: number
  #sentId: number

  /**
   * @param options.lastId the newest device event that the reader knows.
   * @param options.ended called when the reader has gone away.
   */
  constructor(options: {
    deviceId: number | undefined
    lastId: number
    ended: (stream: EventStream) => void
  }) {
    this.deviceId = options.deviceId
    this.#newestId = options.lastId
    this.#sentId = options.lastId
    this.body = new ReadableStream(
      {
        start: (controller) => {
          this.#controller = controller
        },
        pull: () => this.#send(),
        cancel: () => {
          this.#controller = undefined
          this.#drop()
          options.ended(this)
        },
      },
      { highWaterMark: bufferBytes, size: ({ byteLength }) => byteLength },
    )
  }

  /** @param id of the device event; of a reading none. */
  push({ event, frame }: StreamMessage, id?: number): void {
    this.#newestId = Math.max(this.#newestId, id ?? 0)
    const isTooMuch =
      this.#waiting.length >= maxWaiting || this.#waitingBytes + frame.length > maxWaitingBytes
    if (isTooMuch) this.#skip()
    if (frame.length > maxWaitingBytes) {
      this.#skipped[event] += 1
      return
    }
    this.#waiting.push({ event, id: this.#newestId, frame })
    this.#waitingBytes += frame.length
    this.#send()
  }

  /** Replaces an overview that still waits. */
  pushOverview(frame: Uint8Array<ArrayBuffer>): void {
    this.#overview = frame
    this.#send()
  }

  /** Counts messages that were left out before they came here. */
  noteSkipped(event: StreamMessage['event'], count: number): void {
    this.#skipped[event] += count
    this.#send()
  }

  /** Shows proxies between here and the reader that the stream is alive. */
  keepAlive(): void {
    if (this.#hasRoom) this.#controller?.enqueue(keepAlive)
  }

  /** Ends the stream after what the response has already. */
  close(): void {
    this.#drop()
    this.#controller?.close()
    this.#controller = undefined
  }

  get #hasRoom(): boolean {
    return (this.#controller?.desiredSize ?? 0) > 0
  }

  #skip(): void {
    for (const { event } of this.#waiting) this.#skipped[event] += 1
    this.#drop()
  }

  #drop(): void {
    this.#waiting = []
    this.#waitingBytes = 0
    this.#overview = undefined
  }

  #send(): void {
    while (this.#hasRoom) {
      const frame = this.#next()
      if (frame === undefined) return
      // One chunk for each message: a reader that waits makes the stream pull the next one at once.
      this.#controller?.enqueue(withId(this.#sentId, frame))
    }
  }

  #next(): Uint8Array<ArrayBuffer> | undefined {
    const { event: events, reading: readings } = this.#skipped
    if (events + readings > 0) {
      this.#skipped = { event: 0, reading: 0 }
      return frameOf('skipped', { events, readings })
    }
    const next = this.#waiting.shift()
    if (next !== undefined) {
      this.#sentId = next.id
      this.#waitingBytes -= next.frame.length
      return next.frame
    }
    const overview = this.#overview
    this.#overview = undefined
    return overview
  }
}
