/**
 * An optimisation: plain requests with telemetry are read from their connection and answered on it, without the objects and streams of
 * Node's HTTP and without Hono: 0.85 of the CPU per message (paired, 9 rounds). With the first request that is not plain, a connection
 * goes to Node's server for good.
 */
import { type Server, STATUS_CODES, validateHeaderValue } from 'node:http'
import type { Socket } from 'node:net'
import type { HttpEnv, RequestContext } from '../lib/http/context.ts'
import type { DirectAnswer } from '../lib/http/endpoint.ts'
import { type DirectRequest, readDirectRequest } from './direct-request.ts'

type Variables = HttpEnv['Variables']

export interface DirectDoorOptions {
  readonly server: Server
  /** With which the server hands over a connection. */
  readonly event: 'connection' | 'secureConnection'
  /** Answers to POST, by path. */
  readonly answers: ReadonlyMap<string, DirectAnswer>
  /** Whether the server ends: each answer then ends its connection. */
  readonly isClosing: () => boolean
}

/** Takes the connections of a server, answers plain requests itself and gives every other connection to Node. */
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
      const leave = (bytes: Buffer | undefined) => {
        this.#connections.delete(connection)
        if (bytes !== undefined) handOver(socket, bytes, toNode)
      }
      const connection = new DirectConnection(socket, this.#options, leave)
      this.#connections.add(connection)
    })
  }

  /** Ends the connections on which no request is under way. */
  closeIdle(): void {
    for (const connection of this.#connections) if (connection.isIdle) connection.destroy()
  }

  /** Cuts all connections of this door; those that Node has are not its own. */
  closeAll(): void {
    for (const connection of this.#connections) connection.destroy()
  }
}

/** Gives a connection to Node, which reads these bytes first. */
const handOver = (socket: Socket, bytes: Buffer, toNode: (socket: Socket) => void) => {
  socket.pause()
  toNode(socket)
  if (bytes.length > 0) socket.unshift(bytes)
  socket.resume()
}

/** One connection until it ends or leaves this door. */
class DirectConnection {
  readonly #socket: Socket
  readonly #options: DirectDoorOptions
  readonly #leave: (bytes: Buffer | undefined) => void
  /** A request whose answer is awaited. */
  #answering = false
  /** Bytes of a request whose body is not complete. */
  #waiting: Buffer | undefined
  /** Whether more came while an answer was awaited: it waits in the socket, for Node. */
  #hasMore = false
  /** Whether a request has been answered: silence is then no fault. */
  #hasAnswered = false
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

  /** No request is under way, and the last answer has left. */
  get isIdle(): boolean {
    return !this.#answering && this.#waiting === undefined && this.#socket.writableLength === 0
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
    this.#hasAnswered = true
    if (socket.destroyed) return
    if (isLast) {
      // What comes behind the last answer would be stored without one.
      socket.off('data', this.#onData)
      socket.end(text)
      socket.destroySoon()
    } else {
      const taken = socket.write(text, length === body.length ? 'latin1' : 'utf8')
      if (this.#hasMore) this.#toNode(nothing)
      else {
        if (!taken) this.#pauseUntilTaken()
        if (socket.timeout !== server.keepAliveTimeout) socket.setTimeout(server.keepAliveTimeout)
      }
    }
  }

  /** Reads no further request until the client has read its answers: they would fill the memory. */
  #pauseUntilTaken(): void {
    const socket = this.#socket
    socket.pause()
    socket.once('drain', () => socket.resume())
  }

  readonly #onData = (bytes: Buffer): void => {
    const { answers, server } = this.#options
    if (this.#answering) {
      // More than one request at once is work for Node's server, after this answer.
      this.#hasMore = true
      this.#socket.pause()
      this.#socket.unshift(bytes)
      return
    }
    const before = this.#waiting
    const all = before === undefined ? bytes : Buffer.concat([before, bytes])
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
    if (this.#answering) return
    // The first request did not come, or the rest of one.
    if (this.#waiting !== undefined || !this.#hasAnswered) this.#refuse('ERR_HTTP_REQUEST_TIMEOUT')
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
const nothing = Buffer.alloc(0)

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
  #body: Buffer | undefined
  readonly #connection: DirectConnection
  readonly #variables: { [Name in keyof Variables]?: Variables[Name] } = {}

  constructor(request: DirectRequest, connection: DirectConnection, socket: Socket) {
    this.env = { incoming: { socket } }
    this.req = new PlainRequest(request)
    this.#body = request.body
    this.#connection = connection
  }

  takeBody(): Buffer {
    const body = this.#body
    if (body === undefined) throw new Error('The body was taken before.')
    this.#body = undefined
    return body
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
