/** The HTTP door of one machine: every function of the route table behind one port, on `@hono/node-server`. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { Duplex } from 'node:stream'
import { getRequestListener } from '@hono/node-server'
import { Hono } from 'hono'
import { cors } from 'hono/cors'
import { AppError } from '../lib/errors.ts'
import { type Bindings, errorBody, type HttpEnv, headersOf } from '../lib/http/endpoint.ts'
import { nextRequestId } from '../lib/request-id.ts'
import type { FunctionTable } from './functions.ts'

export interface HttpDoorOptions {
  host: string
  /** 0 picks a free one. */
  port: number
  functions: FunctionTable
  tls: { cert: Buffer; key: Buffer } | undefined
  corsOrigins: readonly string[]
}

export interface HttpDoor {
  readonly port: number
  /** Stops taking requests, answers those under way, and after `graceMs` ends the connections that are left. */
  close(graceMs: number): Promise<void>
}

type Door = (request: Request, env: Bindings) => Response | Promise<Response>

/** Hands each request to the app of its function. */
async function compose(functions: FunctionTable, corsOrigins: readonly string[]): Promise<Door> {
  const app = new Hono<HttpEnv>()
  /** Addresses without a parameter: they need no second router around that of the function. */
  const direct = new Map<string, Hono<HttpEnv>>()
  if (corsOrigins.length > 0) {
    const { allowedMethods, allowedHeaders, exposedResponseHeaders, maxAge } = functions.cors
    // A preflight reaches no endpoint.
    app.use(async (c, next) => {
      if (c.req.method === 'OPTIONS')
        for (const [name, value] of Object.entries(headersOf(nextRequestId()))) c.header(name, value)
      await next()
    })
    app.use(
      cors({
        origin: corsOrigins.includes('*') ? '*' : [...corsOrigins],
        allowMethods: allowedMethods,
        allowHeaders: allowedHeaders,
        exposeHeaders: exposedResponseHeaders,
        maxAge,
      }),
    )
  }
  // As the gateway decides it: a fixed segment goes before a parameter.
  const routes = [...functions.routes].sort((a, b) => a.path.split(':').length - b.path.split(':').length)
  for (const { method, path, functionName } of routes) {
    const target = await (await functions.http(functionName)).app()
    app.on(method, path, (c) => target.fetch(c.req.raw, c.env))
    if (!path.includes(':') && corsOrigins.length === 0) direct.set(`${method} ${path}`, target)
  }
  const rest = await (await functions.http(functions.fallback)).app()
  app.notFound((c) => rest.fetch(c.req.raw, c.env))
  return (request, env) => {
    const { method, url } = env.incoming ?? {}
    return (direct.get(`${method} ${url}`) ?? app).fetch(request, env)
  }
}

/** Connections that may wait to be accepted; the system may allow fewer. A whole fleet comes back at once. */
export const backlog = 4096

/** What never reaches an endpoint gets the same shape of error as everything else. */
const refusal = (message: string) => {
  const requestId = nextRequestId()
  return {
    body: JSON.stringify(errorBody(new AppError('BAD_REQUEST', message), requestId)),
    headers: headersOf(requestId, 'application/json'),
  }
}

const invalid = ['400 Bad Request', 'This is not a valid HTTP request.'] as const
const faults: Partial<Record<string, readonly [string, string]>> = {
  HPE_HEADER_OVERFLOW: ['431 Request Header Fields Too Large', 'The headers are too large.'],
  ERR_HTTP_REQUEST_TIMEOUT: ['408 Request Timeout', 'The request did not arrive in time.'],
}

/** Answers on a connection that has no request, and ends it. */
const refuseSocket = (socket: Duplex, [status, message]: readonly [string, string]) => {
  if (!socket.writable) {
    socket.destroy()
    return
  }
  const { body, headers } = refusal(message)
  const lines = Object.entries({
    ...headers,
    'Content-Length': Buffer.byteLength(body),
    Date: new Date().toUTCString(),
    Connection: 'close',
  }).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.end(`HTTP/1.1 ${status}\r\n${lines.join('')}\r\n${body}`)
}

const refuseRequest = (response: ServerResponse, status: number, message: string) => {
  const { body, headers } = refusal(message)
  response.writeHead(status, { ...headers, Connection: 'close' }).end(body)
}

/** @throws {Error} one sentence when the port cannot be taken. */
export async function openHttpDoor(options: HttpDoorOptions): Promise<HttpDoor> {
  const { host, port, functions, tls, corsOrigins } = options
  const door = await compose(functions, corsOrigins)
  const listener = getRequestListener((request, env) => door(request, env as Bindings), {
    hostname: host,
    errorHandler: () => {
      const { body, headers } = refusal('The address is not valid.')
      return new Response(body, { status: 400, headers: { ...headers, Connection: 'close' } })
    },
  })
  let closing = false
  const serve = (request: IncomingMessage, response: ServerResponse) => {
    // A client that sends one request after the other would keep its connection open until it is cut.
    if (closing) response.shouldKeepAlive = false
    // RFC 9112 §3.2. Node would answer it in a shape of its own.
    if (request.headers.host === undefined && request.httpVersion === '1.1')
      refuseRequest(response, 400, 'The Host header is missing.')
    else listener(request, response)
  }
  const limits = {
    headersTimeout: 10_000,
    requestTimeout: 30_000,
    keepAliveTimeout: 65_000,
    connectionsCheckingInterval: 2_000,
    requireHostHeader: false,
  }
  const server: Server = tls ? createTlsServer({ ...limits, ...tls }, serve) : createServer(limits, serve)
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (error.code === 'ECONNRESET') socket.destroy()
    else refuseSocket(socket, faults[error.code ?? ''] ?? invalid)
  })
  server.on('connect', (_request, socket) => refuseSocket(socket, ['400 Bad Request', 'This is no proxy.']))
  server.on('checkExpectation', (_request, response) =>
    refuseRequest(response, 417, 'Nothing but 100-continue can be expected.'),
  )
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ port, host, backlog }, resolve)
  }).catch((error: NodeJS.ErrnoException) => {
    throw new Error(listenFault(error, 'PORT', port, host))
  })
  const address = server.address()
  return {
    port: typeof address === 'object' && address !== null ? address.port : port,
    async close(graceMs) {
      closing = true
      const timer = setTimeout(() => server.closeAllConnections(), graceMs)
      const sweep = setInterval(() => server.closeIdleConnections(), 50)
      await new Promise((resolve) => {
        server.close(resolve)
        server.closeIdleConnections()
      })
      clearTimeout(timer)
      clearInterval(sweep)
    },
  }
}

/** Why a port could not be listened on, as one sentence with the setting to change. */
export function listenFault(
  error: NodeJS.ErrnoException,
  setting: string,
  port: number,
  host: string,
): string {
  if (error.code === 'EADDRINUSE') {
    return `${setting} ${port} is taken on ${host}: stop what listens there, or set ${setting} to another port or 0 for a free one.`
  }
  if (error.code === 'EACCES')
    return `${setting} ${port} may not be used by this user: set ${setting} to a port above 1023.`
  if (error.code === 'EADDRNOTAVAIL' || error.code === 'ENOTFOUND') {
    return `HOST ${host} is not an address of this machine.`
  }
  return `${setting} ${port} on ${host} cannot be listened on (${error.code ?? 'unknown'}).`
}
