/** Reads event streams (`text/event-stream`), as a browser's page does. */

export interface StreamMessage {
  readonly id: string
  readonly event: string
  // biome-ignore lint/suspicious/noExplicitAny: tests look into messages by their documented names.
  readonly data: any
}

export class StreamReader {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>
  readonly #decoder = new TextDecoder()
  #text = ''
  #ended = false

  constructor(body: ReadableStream<Uint8Array> | null) {
    if (body === null) throw new Error('there is no body')
    this.#reader = body.getReader()
  }

  /** The next message; undefined at the end of the stream. Comments are left out. */
  async next(): Promise<StreamMessage | undefined> {
    for (;;) {
      const end = this.#text.indexOf('\n\n')
      if (end >= 0) {
        const lines = this.#text.slice(0, end).split('\n')
        this.#text = this.#text.slice(end + 2)
        const field = (name: string) =>
          lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2)
        const data = field('data')
        if (data !== undefined)
          return { id: field('id') ?? '', event: field('event') ?? '', data: JSON.parse(data) }
      } else if (this.#ended) return undefined
      else {
        const { done, value } = await this.#reader.read()
        this.#ended = done
        this.#text += this.#decoder.decode(value, { stream: !done })
      }
    }
  }

  /** The next message of this kind. @throws {Error} at the end of the stream. */
  async nextOf(event: string): Promise<StreamMessage> {
    for (;;) {
      const message = await this.next()
      if (message === undefined) throw new Error(`the stream ended without ${event}`)
      if (message.event === event) return message
    }
  }

  cancel(): Promise<void> {
    return this.#reader.cancel()
  }
}
