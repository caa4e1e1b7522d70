/**
 * The HTTP server of a standalone server: every function of the route table behind one port, on `@hono/node-server`. Plain telemetry
 * is answered before it.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { Duplex } from 'node:stream'
import { getRequestListener } from '@hono/node-server'
import type { Hono } from 'hono'
import { cors } from 'hono/cors'
import { AppError } from '../lib/errors.ts'
import type { Bindings, HttpEnv } from '../lib/http/context.ts'
import { type DirectAnswer, directAnswerOf } from '../lib/http/endpoint.ts'
import { errorBody } from '../lib/http/errors.ts'
import { responseHeaders } from '../lib/http/headers.ts'
import { addRoutes, createApp, type RoutedApp } from '../lib/http/router.ts'
import { nextRequestId } from '../lib/request-id.ts'
import { DirectDoor } from './direct-door.ts'
import type { Functions } from './functions.ts'

export interface HttpServerOptions {
  host: string
  /** 0 picks a free one. */
  port: number
  functions: Functions
  tls: { cert: Buffer; key: Buffer } | undefined
  corsOrigins: readonly string[]
}

export interface HttpServer {
  readonly port: number
  /** Refuses new connections, answers requests under way, and after `graceMs` cuts the connections that are left. */
  close(graceMs: number): Promise<void>
}

interface RequestHandler {
  /** Passes a request to the app of its function. */
  handle(request: Request, env: Bindings): Response | Promise<Response>
  /** By path, for plain requests with POST. */
  readonly direct: ReadonlyMap<string, DirectAnswer>
}

/** Loads all functions. */
async function createRequestHandler(
  functions: Functions,
  corsOrigins: readonly string[],
): Promise<RequestHandler> {
  const app = createApp()
  /** Paths without a parameter are looked up here: they need no second router around that of the function. */
  const targets = new Map<string, Hono<HttpEnv>>()
  const direct = new Map<string, DirectAnswer>()
  if (corsOrigins.length > 0) {
    const { allowedMethods, allowedHeaders, exposedResponseHeaders, maxAge } = functions.cors
    // A preflight request is answered before any endpoint could set these headers.
    app.use(async (c, next) => {
      if (c.req.method === 'OPTIONS')
        for (const [name, value] of Object.entries(responseHeaders(nextRequestId()))) c.header(name, value)
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
  const routes: RoutedApp[] = []
  for (const { method, path, functionName } of functions.routes) {
    const { app: build } = await functions.http(functionName)
    // Built now, so that a fault stops the start and the first request does not wait.
    const target = await build()
    routes.push({ method, path, app: build })
    if (path.includes(':') || corsOrigins.length > 0) continue
    targets.set(`${method} ${path}`, target)
    const answer = directAnswerOf(target)
    if (method === 'POST' && answer !== undefined) direct.set(path, answer)
  }
  addRoutes(app, routes)
  const fallback = await (await functions.http(functions.fallback)).app()
  app.notFound((c) => fallback.fetch(c.req.raw, c.env))
  const handle = (request: Request, env: Bindings) => {
    const { method, url } = env.incoming ?? {}
    return (targets.get(`${method} ${url}`) ?? app).fetch(request, env)
  }
  return { handle, direct }
}

/** Connections that may wait to be accepted: after an outage a whole fleet connects at once. The operating system may allow fewer. */
export const backlog = 4096

/** The answer to a request that reaches no endpoint, in the same shape as every other error. */
const errorAnswer = (message: string) => {
  const requestId = nextRequestId()
  return {
    body: JSON.stringify(errorBody(new AppError('BAD_REQUEST', message), requestId)),
    headers: responseHeaders(requestId, 'application/json'),
  }
}

const invalidRequest = ['400 Bad Request', 'This is not a valid HTTP request.'] as const
const parserErrors: Partial<Record<string, readonly [string, string]>> = {
  HPE_HEADER_OVERFLOW: ['431 Request Header Fields Too Large', 'The headers are too large.'],
  ERR_HTTP_REQUEST_TIMEOUT: ['408 Request Timeout', 'The request did not arrive in time.'],
}

/** Answers on a connection without a valid request, and ends it. */
const refuseSocket = (socket: Duplex, [status, message]: readonly [string, string]) => {
  if (!socket.writable) {
    socket.destroy()
    return
  }
  const { body, headers } = errorAnswer(message)
  const lines = Object.entries({
    ...headers,
    'Content-Length': Buffer.byteLength(body),
    Date: new Date().toUTCString(),
    Connection: 'close',
  }).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.end(`HTTP/1.1 ${status}\r\n${lines.join('')}\r\n${body}`)
}

const refuseRequest = (response: ServerResponse, status: number, message: string) => {
  const { body, headers } = errorAnswer(message)
  response.writeHead(status, { ...headers, Connection: 'close' }).end(body)
}

/** @throws {Error} one sentence when the server cannot listen on the port. */
export async function openHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const { host, port, functions, tls, corsOrigins } = options
  const { handle, direct } = await createRequestHandler(functions, corsOrigins)
  const listener = getRequestListener((request, env) => handle(request, env as Bindings), {
    hostname: host,
    errorHandler: () => {
      const { body, headers } = errorAnswer('The address is not valid.')
      return new Response(body, { status: 400, headers: { ...headers, Connection: 'close' } })
    },
  })
  let closing = false
  const serve = (request: IncomingMessage, response: ServerResponse) => {
    // A client that sends one request after the other would keep its connection open until the grace time is over.
    if (closing) response.shouldKeepAlive = false
    // RFC 9112 §3.2 demands the header; Node's own answer would have no JSON body.
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
  const door = new DirectDoor({
    server,
    event: tls ? 'secureConnection' : 'connection',
    answers: direct,
    isClosing: () => closing,
  })
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (error.code === 'ECONNRESET') socket.destroy()
    else refuseSocket(socket, parserErrors[error.code ?? ''] ?? invalidRequest)
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
      const closeIdle = () => {
        server.closeIdleConnections()
        door.closeIdle()
      }
      const timer = setTimeout(() => {
        server.closeAllConnections()
        door.closeAll()
      }, graceMs)
      const sweep = setInterval(closeIdle, 50)
      await new Promise((resolve) => {
        server.close(resolve)
        closeIdle()
      })
      clearTimeout(timer)
      clearInterval(sweep)
    },
  }
}

/** @returns one sentence that tells why a server cannot listen, with the setting to change. */
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
