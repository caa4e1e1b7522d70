/**
 * What every endpoint shares: a request id, security headers, one log line, and one table from errors to answers.
 * Headers are put together as one literal when the answer is made, and never touched after it: that would halve the rate
 * on Node.
 */
import { type Context, Hono } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import { AppError, type ErrorCode, type ErrorDetail, knownError } from '../errors.ts'
import type { Log } from '../log.ts'
import { nextRequestId } from '../request-id.ts'
import type { Outcome } from './limit.ts'

/** What the front doors hand in beside the request: Node its socket, Lambda its event. */
export interface Bindings {
  incoming?: {
    socket: { remoteAddress?: string | undefined }
    method?: string | undefined
    url?: string | undefined
    headers?: Readonly<Record<string, string | string[] | undefined>>
  }
  requestContext?: { http?: { sourceIp?: string } }
}

export interface HttpEnv {
  Bindings: Bindings
  Variables: {
    requestId: string
    /** Headers of the answer beside those that every answer has; add to it before the answer is made. */
    headers: Record<string, string>
    /** What became of counting the request, for its headers. */
    limit: Outcome | undefined
    /** For the log line. */
    deviceId: number | undefined
  }
}

/** What of a Hono context the shared parts use: any endpoint's context fits, whatever variables it adds. */
export interface Call {
  readonly req: {
    readonly raw: Request
    readonly path: string
    header(name: string): string | undefined
    query(): Record<string, string>
    query(name: string): string | undefined
    param(name: string): string | undefined
  }
  readonly env: Bindings
  get<Name extends keyof HttpEnv['Variables']>(name: Name): HttpEnv['Variables'][Name]
  set(name: 'deviceId', value: number): void
  set(name: 'limit', value: Outcome): void
}

/**
 * What every answer has, with its content type and the state of its limit where there are such. In one literal, of which
 * the few answers without them lose some: adding to an object costs ten times as much.
 */
export function headersOf(requestId: string, contentType?: string, limit?: Outcome): Record<string, string> {
  const headers: Record<string, string> = {
    'X-Content-Type-Options': 'nosniff',
    'Cache-Control': 'no-store',
    'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
    'Referrer-Policy': 'no-referrer',
    'X-Request-Id': requestId,
    'Content-Type': contentType ?? '',
    'RateLimit-Limit': String(limit?.limit),
    'RateLimit-Remaining': String(limit?.remaining),
    'RateLimit-Reset': String(Math.max(0, Math.ceil(((limit?.resetAt ?? 0) - Date.now()) / 1000))),
  }
  if (contentType === undefined) delete headers['Content-Type']
  if (limit === undefined)
    for (const name of ['RateLimit-Limit', 'RateLimit-Remaining', 'RateLimit-Reset']) delete headers[name]
  return headers
}

const statusOf: Record<ErrorCode, ContentfulStatusCode> = {
  BAD_REQUEST: 400,
  MALFORMED_JSON: 400,
  UNAUTHORIZED: 401,
  FORBIDDEN: 403,
  NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  CONFLICT: 409,
  PRECONDITION_FAILED: 412,
  PAYLOAD_TOO_LARGE: 413,
  UNSUPPORTED_MEDIA_TYPE: 415,
  VALIDATION_FAILED: 422,
  TOO_OLD: 422,
  RATE_LIMITED: 429,
  ADMIN_DISABLED: 503,
  ENROLLMENT_DISABLED: 503,
  UNAVAILABLE: 503,
  INTERNAL: 500,
}

/** What a disabled feature tells clients to wait: an operator has to act first. */
const disabledRetryS = 3600

export interface ErrorBody {
  error: { code: ErrorCode; message: string; request_id: string; details?: ErrorDetail[] }
}

/** The one shape of an error, for the doors that must answer without an endpoint too. */
export const errorBody = (error: AppError, requestId: string): ErrorBody => ({
  error: {
    code: error.code,
    message: error.message,
    request_id: requestId,
    ...(error.details === undefined ? {} : { details: error.details }),
  },
})

/** An answer with the headers of this call. @param body a value for JSON, text with its content type, or none for 304. */
export function reply(
  c: Call,
  status: ContentfulStatusCode | 304,
  body: unknown,
  contentType = 'application/json',
): Response {
  const headers = headersOf(c.get('requestId'), body === undefined ? undefined : contentType, c.get('limit'))
  const more = c.get('headers')
  for (const name in more) headers[name] = more[name] as string
  if (body === undefined) return new Response(null, { status, headers })
  return new Response(typeof body === 'string' ? body : JSON.stringify(body), { status, headers })
}

const answerError = (c: Call, error: AppError): Response => {
  const status = statusOf[error.code]
  const retryAfterS = error.retryAfterS ?? (status === 503 ? disabledRetryS : undefined)
  const headers = c.get('headers')
  if (retryAfterS !== undefined) headers['Retry-After'] = String(Math.max(1, Math.ceil(retryAfterS)))
  if (status === 401) headers['WWW-Authenticate'] = 'Bearer'
  return reply(c, status, errorBody(error, c.get('requestId')))
}

/**
 * A header of the request, read where Node keeps it: `Headers` would check every name anew.
 * @param name in lower case.
 */
export function headerOf(c: Call, name: string): string | undefined {
  const value = c.env?.incoming?.headers ? c.env.incoming.headers[name] : c.req.header(name)
  return typeof value === 'object' ? value.join(', ') : value
}

/** The name under which the caller reached this door, without a port; `localhost` when it told none. */
export function hostnameOf(c: Call): string {
  const host = `http://${headerOf(c, 'host') ?? 'localhost'}`
  return URL.canParse(host) ? new URL(host).hostname : 'localhost'
}

const maxLoggedPath = 200

/** Lets callers in, and resolves with who they are. @throws {AppError} for those that it does not. */
export type Admit<Who> = (c: Call) => Promise<Who>

/** For what answers everybody, and counts nobody. */
export const anybody: Admit<undefined> = () => Promise.resolve(undefined)

type Answer<Who> = (c: Context<HttpEnv>, who: Who) => Response | Promise<Response>

/**
 * A whole function: what it answers to those whom it lets in.
 * @param routes its addresses: `GET /api/v1/telemetry/:id`; `ALL` is any method.
 */
export function endpoint<Who>(
  log: Log,
  routes: string | readonly string[],
  admit: Admit<Who>,
  answer: Answer<Who>,
): Hono<HttpEnv> {
  const answerFault = (c: Call, error: unknown) => {
    const known = knownError(error)
    if (known !== undefined && known.code !== 'INTERNAL') return answerError(c, known)
    log.error('request failed', { request_id: c.get('requestId'), error })
    return answerError(
      c,
      new AppError('INTERNAL', 'Something went wrong here; the request id helps to find out what.'),
    )
  }
  // A route has this one handler: to put several together, as middleware, costs Hono a tenth of what a message costs.
  const handle = async <W>(c: Context<HttpEnv>, admit: Admit<W>, answer: Answer<W>): Promise<Response> => {
    const started = performance.now()
    const requestId = nextRequestId()
    c.set('requestId', requestId)
    c.set('headers', {})
    let response: Response
    try {
      response = await answer(c, await admit(c))
    } catch (error) {
      response = answerFault(c, error)
    }
    if (log.enabled('info')) {
      log.info('request', {
        request_id: requestId,
        method: c.req.method,
        path: c.req.path.slice(0, maxLoggedPath),
        status: response.status,
        ms: Math.round((performance.now() - started) * 100) / 100,
        device_id: c.get('deviceId'),
      })
    }
    return response
  }
  const app = new Hono<HttpEnv>()
  for (const route of [routes].flat()) {
    const [method = '', path = ''] = route.split(' ')
    app.on(method, path, (c) => handle(c, admit, answer))
  }
  const nothingHere = () => {
    throw new AppError('NOT_FOUND', 'There is nothing at this address.')
  }
  app.notFound((c) => handle(c, anybody, nothingHere))
  return app
}
