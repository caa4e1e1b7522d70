/** A receiver of webhooks: an HTTP server on loopback that answers as a test wants. */
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Received {
  readonly id: string
  readonly headers: IncomingHttpHeaders
  readonly text: string
  // biome-ignore lint/suspicious/noExplicitAny: tests look into messages by their documented names.
  readonly body: any
  /** The status that was answered; undefined for an answer of another kind. */
  readonly status: number | undefined
}

/** A status, or a function that answers, or does not. */
export type Answering = number | ((response: ServerResponse) => void)

export interface Receiver {
  readonly url: string
  readonly port: number
  /** All messages, in the order in which they came. */
  readonly received: Received[]
  /** How the next messages are answered; 204 at first. */
  answer(how: number | ((message: Received) => Answering)): void
  /** Requests under way. */
  readonly open: () => number
  /** The most requests under way at a time. */
  readonly mostOpen: () => number
  close(): Promise<void>
}

export async function startReceiver(): Promise<Receiver> {
  let how: (message: Received) => Answering = () => 204
  const received: Received[] = []
  let open = 0
  let mostOpen = 0
  const server = createServer(async (request, response) => {
    open += 1
    mostOpen = Math.max(mostOpen, open)
    response.on('close', () => {
      open -= 1
    })
    let text = ''
    for await (const chunk of request) text += chunk
    const { headers } = request
    const message = { id: String(headers['webhook-id']), headers, text, body: JSON.parse(text) }
    const answering = how({ ...message, status: undefined })
    received.push({ ...message, status: typeof answering === 'number' ? answering : undefined })
    if (typeof answering === 'function') answering(response)
    else response.writeHead(answering).end()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/hook`,
    port,
    received,
    answer(next) {
      how = typeof next === 'number' ? () => next : next
    },
    open: () => open,
    mostOpen: () => mostOpen,
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
