/**
 * An optimisation: plain requests with telemetry are read from their connection and answered on it, without the objects and streams of
 * Node's HTTP and without Hono. With the first request that is not plain, a connection goes to Node's server for good.
 */
import { type Server, STATUS_CODES, validateHeaderValue } from 'node:http'
import type { Socket } from 'node:net'
import type { HttpEnv, RequestContext } from '../lib/http/context.ts'
import type { DirectAnswer } from '../lib/http/endpoint.ts'
import { type DirectRequest, readDirectRequest } from './direct-request.ts'

type Variables = HttpEnv['Variables']

export interface DirectDoorOptions {
  /** One listener of `event` is Node's own, which takes a connection. */
  readonly server: Server
  readonly event: 'connection' | 'secureConnection'
  /** By path. */
  readonly answers: ReadonlyMap<string, DirectAnswer>
  /** Whether the server ends: each answer then ends its connection. */
  readonly isClosing: () => boolean
}

export class DirectDoor {
  readonly #options: DirectDoorOptions
  readonly #connections = new Set<DirectConnection>()

  constructor(options: DirectDoorOptions) {
    this.#options = options
    const { server, event } = options
    const listeners = server.listeners(event) as ((this: Server, socket: Socket) => void)[]
    server.removeAllListeners(event)
    const toNode = (socket: Socket) => {
      for (const listener of listeners) listener.call(server, socket)
    }
    server.on(event, (socket: Socket) => {
      const connection = new DirectConnection(socket, this.#options, (bytes) => {
        this.#connections.delete(connection)
        if (bytes !== undefined) handOver(socket, bytes, toNode)
      })
      this.#connections.add(connection)
    })
  }

  /** Ends the connections on which no request is under way. */
  closeIdle(): void {
    for (const connection of this.#connections) if (connection.isIdle) connection.destroy()
  }

  closeAll(): void {
    for (const connection of this.#connections) connection.destroy()
  }
}

/** The bytes are read again, before all that follow them. */
const handOver = (socket: Socket, bytes: Buffer, toNode: (socket: Socket) => void) => {
  socket.pause()
  toNode(socket)
  socket.unshift(bytes)
  socket.resume()
}

/** One connection until it ends or leaves this door. */
class DirectConnection {
  readonly #socket: Socket
  readonly #options: DirectDoorOptions
  readonly #leave: (bytes: Buffer | undefined) => void
  /** A request whose answer is awaited. */
  #answering = false
  /** What came of a request without the rest of its body, or behind one that is not answered yet. */
  #waiting: Buffer | undefined
  #hasEnded = false

  /** @param leave is called once: with the bytes that Node's server has to read, or when the connection has ended. */
  constructor(socket: Socket, options: DirectDoorOptions, leave: (bytes: Buffer | undefined) => void) {
    this.#socket = socket
    this.#options = options
    this.#leave = leave
    socket.setTimeout(options.server.headersTimeout)
    socket.on('data', this.#onData).on('end', this.#onEnd).on('timeout', this.#onTimeout)
    socket.on('close', this.#onClose).on('error', ignore)
  }

  get isIdle(): boolean {
    return !this.#answering && this.#waiting === undefined
  }

  destroy(): void {
    this.#socket.destroy()
  }

  /** Writes the answer to the request under way. */
  write(head: string, body: string): void {
    const { server, isClosing } = this.#options
    const isLast = isClosing() || this.#hasEnded
    const end = isLast ? 'close' : `keep-alive\r\nKeep-Alive: timeout=${server.keepAliveTimeout / 1000}`
    const length = Buffer.byteLength(body)
    const text = `${head}Content-Length: ${length}\r\nDate: ${httpDate()}\r\nConnection: ${end}\r\n\r\n${body}`
    const socket = this.#socket
    this.#answering = false
    if (socket.destroyed) return
    if (isLast) socket.end(text)
    else {
      const taken = socket.write(text, length === body.length ? 'latin1' : 'utf8')
      if (this.#waiting !== undefined) this.#toNode(this.#waiting)
      else if (!taken) this.#readOnlyWhenRead()
      else if (socket.timeout !== server.keepAliveTimeout) socket.setTimeout(server.keepAliveTimeout)
    }
  }

  /** A client that reads no answers is not read, so that they do not fill the memory. */
  #readOnlyWhenRead(): void {
    const socket = this.#socket
    socket.pause()
    socket.once('drain', () => socket.resume())
  }

  readonly #onData = (bytes: Buffer): void => {
    const { answers, server } = this.#options
    const before = this.#waiting
    const all = before === undefined ? bytes : Buffer.concat([before, bytes])
    if (this.#answering) {
      // More than one request at once is work for Node's server, after this answer.
      this.#waiting = all
      this.#socket.pause()
      return
    }
    const request = readDirectRequest(all, (path) => answers.has(path))
    // Many clients send head and body one after the other. A body in more parts is work for Node's server.
    if (request === 'incomplete' && before === undefined) {
      this.#waiting = all
      this.#socket.setTimeout(server.requestTimeout)
    } else if (typeof request === 'object') {
      this.#waiting = undefined
      this.#answering = true
      void answers.get(request.path)?.(new DirectContext(request, this, this.#socket))
    } else this.#toNode(all)
  }

  readonly #onEnd = (): void => {
    this.#hasEnded = true
    if (this.#answering) return
    if (this.#waiting === undefined) this.#socket.end()
    else this.#refuse('HPE_INVALID_EOF_STATE')
  }

  readonly #onTimeout = (): void => {
    const { server } = this.#options
    if (this.#answering) return
    // The first request did not come, or the rest of one.
    if (this.#waiting !== undefined || this.#socket.timeout === server.headersTimeout)
      this.#refuse('ERR_HTTP_REQUEST_TIMEOUT')
    else this.#socket.destroy()
  }

  readonly #onClose = (): void => this.#leave(undefined)

  #refuse(code: string): void {
    this.#options.server.emit('clientError', Object.assign(new Error(code), { code }), this.#socket)
  }

  #toNode(bytes: Buffer): void {
    const socket = this.#socket
    socket.setTimeout(0)
    socket.off('data', this.#onData).off('end', this.#onEnd).off('timeout', this.#onTimeout)
    socket.off('close', this.#onClose)
    this.#leave(bytes)
    socket.off('error', ignore)
  }
}

const ignore = (): void => undefined

let dateAt = 0
let date = ''

/** The time in the form of the header, made once a second. */
const httpDate = (): string => {
  const now = Math.floor(Date.now() / 1000)
  if (now !== dateAt) {
    dateAt = now
    date = new Date(now * 1000).toUTCString()
  }
  return date
}

/** The context of a plain request, whose answer is written at once. */
class DirectContext implements RequestContext {
  readonly env: HttpEnv['Bindings']
  readonly req: RequestContext['req']
  readonly sentBody: Buffer
  readonly #connection: DirectConnection
  readonly #variables: { [Name in keyof Variables]?: Variables[Name] } = {}

  constructor(request: DirectRequest, connection: DirectConnection, socket: Socket) {
    this.env = { incoming: { socket } }
    this.req = new PlainRequest(request)
    this.sentBody = request.body
    this.#connection = connection
  }

  get<Name extends keyof Variables>(name: Name): Variables[Name] {
    return this.#variables[name] as Variables[Name]
  }

  set<Name extends keyof Variables>(name: Name, value: Variables[Name]): void {
    this.#variables[name] = value
  }

  respond(body: string, status: number, headers: Record<string, string>): { readonly status: number } {
    let head = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n`
    for (const name in headers) {
      const value = headers[name] as string
      validateHeaderValue(name, value)
      head += `${name}: ${value}\r\n`
    }
    this.#connection.write(head, body)
    return { status }
  }
}

/** A request to an address without parameters and query. */
class PlainRequest {
  readonly method = 'POST'
  readonly path: string
  readonly #headers: DirectRequest['headers']

  constructor({ path, headers }: DirectRequest) {
    this.path = path
    this.#headers = headers
  }

  get raw(): Request {
    throw new Error('A request that came without Hono has only its body.')
  }

  header(name: string): string | undefined {
    return this.#headers[name]
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
