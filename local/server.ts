/** The HTTP door of one machine: every function of the route table behind one port, on `@hono/node-server`. */
import { createServer, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { Socket } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import { Hono } from 'hono'
import { cors } from 'hono/cors'
import { AppError, type ErrorCode } from '../lib/errors.ts'
import { errorBody, type HttpEnv } from '../lib/http/endpoint.ts'
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

/** One app that hands each request to the app of its function. */
async function compose(functions: FunctionTable, corsOrigins: readonly string[]): Promise<Hono<HttpEnv>> {
  const app = new Hono<HttpEnv>()
  if (corsOrigins.length > 0) {
    app.use(
      cors({
        origin: corsOrigins.includes('*') ? '*' : [...corsOrigins],
        allowHeaders: [
          'Content-Type',
          'X-API-Key',
          'Authorization',
          'X-Enrollment-Key',
          'If-Match',
          'Idempotency-Key',
        ],
        exposeHeaders: [
          'X-Request-Id',
          'X-Next-Cursor',
          'ETag',
          'Retry-After',
          'RateLimit-Limit',
          'RateLimit-Remaining',
        ],
        maxAge: 600,
      }),
    )
  }
  for (const { method, path, functionName } of functions.routes) {
    const target = await (await functions.http(functionName)).app()
    app.on(method, path, (c) => target.fetch(c.req.raw, c.env))
  }
  const rest = await (await functions.http(functions.fallback)).app()
  app.notFound((c) => rest.fetch(c.req.raw, c.env))
  return app
}

const statusLine: Partial<Record<string, [string, ErrorCode, string]>> = {
  HPE_HEADER_OVERFLOW: ['431 Request Header Fields Too Large', 'BAD_REQUEST', 'The headers are too large.'],
  ERR_HTTP_REQUEST_TIMEOUT: ['408 Request Timeout', 'BAD_REQUEST', 'The request did not arrive in time.'],
}

/** What is not HTTP gets the same shape of error as everything else. */
const answerBroken = (error: NodeJS.ErrnoException, socket: Socket) => {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  const [status, code, message] = statusLine[error.code ?? ''] ?? [
    '400 Bad Request',
    'BAD_REQUEST',
    'This is not a valid HTTP request.',
  ]
  const requestId = nextRequestId()
  const body = JSON.stringify(errorBody(new AppError(code, message), requestId))
  socket.end(
    `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n` +
      `X-Request-Id: ${requestId}\r\nDate: ${new Date().toUTCString()}\r\nConnection: close\r\n\r\n${body}`,
  )
}

/** @throws {Error} one sentence when the port cannot be taken. */
export async function openHttpDoor(options: HttpDoorOptions): Promise<HttpDoor> {
  const { host, port, functions, tls, corsOrigins } = options
  const app = await compose(functions, corsOrigins)
  const listener = getRequestListener(app.fetch, {
    hostname: host,
    errorHandler: () => {
      const requestId = nextRequestId()
      return new Response(
        JSON.stringify(errorBody(new AppError('BAD_REQUEST', 'The address is not valid.'), requestId)),
        {
          status: 400,
          headers: { 'Content-Type': 'application/json', 'X-Request-Id': requestId },
        },
      )
    },
  })
  const limits = {
    headersTimeout: 10_000,
    requestTimeout: 30_000,
    keepAliveTimeout: 65_000,
    connectionsCheckingInterval: 2_000,
  }
  const server: Server = tls
    ? createTlsServer({ ...limits, ...tls }, listener)
    : createServer(limits, listener)
  server.on('clientError', answerBroken)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, resolve)
  }).catch((error: NodeJS.ErrnoException) => {
    throw new Error(listenFault(error, 'PORT', port, host))
  })
  const address = server.address()
  return {
    port: typeof address === 'object' && address !== null ? address.port : port,
    async close(graceMs) {
      const timer = setTimeout(() => server.closeAllConnections(), graceMs)
      await new Promise((resolve) => {
        server.close(resolve)
        server.closeIdleConnections()
      })
      clearTimeout(timer)
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
