/**
 * An optimisation: telemetry comes to its endpoint without Hono and the `Request` and `Response` that are made for it: 10 to 14 µs
 * per request between two bare servers with the same headers. Everything but plain requests goes the other way.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { HttpEnv, RequestContext } from '../lib/http/context.ts'

type Variables = HttpEnv['Variables']

/** Largest body of a plain request, bytes: Node reads on behind one that was refused before it was read. */
const maxBytes = 65_536
/** What node-server takes for the name of a host without a closer look. */
const plainHost = /^[a-z0-9._-]+(?::(?:[1-5]\d{3,4}|[6-9]\d{3}))?$/

/** Whether a request has nothing that Hono and node-server would read in another way than {@link NodeContext}. */
export function isPlain({ headers, rawHeaders }: IncomingMessage): boolean {
  const length = headers['content-length']
  if (length === undefined || !(Number(length) <= maxBytes) || headers['transfer-encoding'] !== undefined)
    return false
  let names = 0
  for (const _ in headers) names += 1
  // Node leaves out or joins headers that are sent twice.
  return names * 2 === rawHeaders.length && plainHost.test(headers.host ?? '')
}

/** The context of a request with the body of Node's own request, whose answer is written at once. */
export class NodeContext implements RequestContext {
  readonly env: HttpEnv['Bindings']
  readonly req: RequestContext['req']
  readonly #outgoing: ServerResponse
  readonly #variables: { [Name in keyof Variables]?: Variables[Name] } = {}

  constructor(incoming: IncomingMessage, outgoing: ServerResponse) {
    this.env = { incoming }
    this.req = new NodeRequest(incoming)
    this.#outgoing = outgoing
  }

  get<Name extends keyof Variables>(name: Name): Variables[Name] {
    return this.#variables[name] as Variables[Name]
  }

  set<Name extends keyof Variables>(name: Name, value: Variables[Name]): void {
    this.#variables[name] = value
  }

  respond(body: string, status: number, headers: Record<string, string>): { readonly status: number } {
    headers['Content-Length'] = String(Buffer.byteLength(body))
    this.#outgoing.writeHead(status, headers).end(body)
    return { status }
  }
}

/** A request to an address without parameters and query. */
class NodeRequest {
  readonly #incoming: IncomingMessage

  constructor(incoming: IncomingMessage) {
    this.#incoming = incoming
  }

  get method(): string {
    return this.#incoming.method ?? ''
  }

  get path(): string {
    return this.#incoming.url ?? ''
  }

  get raw(): Request {
    throw new Error('A request that came without Hono has only the body of Node.')
  }

  header(name: string): string | undefined {
    return this.#incoming.headers[name] as string | undefined
  }

  query(): Record<string, string>
  query(name: string): string | undefined
  query(name?: string): Record<string, string> | string | undefined {
    return name === undefined ? {} : undefined
  }

  param(): undefined {
    return undefined
  }
}
