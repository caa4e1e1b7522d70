/**
 * Reads `text/event-stream` with fetch, because EventSource cannot send a header and a token must not be in an address.
 * The format is that of the HTML standard, §9.2.
 */

export interface StreamEvent {
  readonly type: string
  readonly data: string
  readonly id: string | undefined
}

/** Longest line that is kept, characters: a stream that never ends a line must not fill the memory. */
const maxLine = 4_000_000

/** Cuts a text that arrives in pieces into events. */
export class EventStreamParser {
  #rest = ''
  #type = ''
  #data: string[] = []
  #id: string | undefined

  /** @throws {Error} for a line that is too long. */
  push(text: string): StreamEvent[] {
    const events: StreamEvent[] = []
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/)
    this.#rest = lines.pop() ?? ''
    if (this.#rest.length > maxLine) throw new Error('The stream has a line that is too long.')
    for (const line of lines) {
      if (line === '') this.#dispatch(events)
      else this.#field(line)
    }
    return events
  }

  #dispatch(events: StreamEvent[]): void {
    if (this.#data.length > 0)
      events.push({ type: this.#type || 'message', data: this.#data.join('\n'), id: this.#id })
    this.#type = ''
    this.#data = []
  }

  #field(line: string): void {
    const colon = line.indexOf(':')
    if (colon === 0) return
    const name = colon < 0 ? line : line.slice(0, colon)
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '')
    if (name === 'event') this.#type = value
    else if (name === 'data') this.#data.push(value)
    else if (name === 'id' && !value.includes('\0')) this.#id = value
  }
}

/** Calls back for each event until the stream ends. @throws {Error} when the connection breaks. */
export async function readEvents(
  body: ReadableStream<Uint8Array>,
  onEvent: (event: StreamEvent) => void,
  onBytes: () => void,
): Promise<void> {
  const parser = new EventStreamParser()
  const reader = body
    .pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>)
    .getReader()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    onBytes()
    for (const event of parser.push(value)) onEvent(event)
  }
}
