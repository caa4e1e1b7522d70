/**
 * The app of one function: its route, who may call, a request id, one log line, and error responses. Headers are complete
 * when a response is made and never changed later: a change after that halves the requests per second on Node.
 */
import type { Context, Hono } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import { AppError, knownError } from '../errors.ts'
import type { Log } from '../log.ts'
import { nextRequestId } from '../request-id.ts'
import type { AccessControl, Admit, CallerOf } from './access-control.ts'
import type { HttpEnv, RequestContext } from './context.ts'
import { errorBody, errorHeaders, internalMessage, statusOf } from './errors.ts'
import { responseHeaders } from './headers.ts'
import type { Access, Documentation, Reply, Route } from './route.ts'
import { createApp } from './router.ts'

/** A body that is sent as it is; every other one is sent as JSON. */
type Written = string | Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>

const respond = (
  c: RequestContext,
  status: ContentfulStatusCode | 304,
  body?: unknown,
  contentType = 'application/json',
): Response => {
  const headers = responseHeaders(
    c.get('requestId'),
    body === undefined ? undefined : contentType,
    c.get('limit'),
  )
  const more = c.get('headers')
  for (const name in more) headers[name] = more[name] as string
  if (body === undefined) return new Response(null, { status, headers })
  if (c.respond !== undefined) return c.respond(JSON.stringify(body), status, headers) as Response
  const isWritten = typeof body === 'string' || body instanceof Uint8Array || body instanceof ReadableStream
  return new Response(isWritten ? (body as Written) : JSON.stringify(body), { status, headers })
}

const respondWithError = (c: RequestContext, error: AppError): Response => {
  Object.assign(c.get('headers'), errorHeaders(error))
  return respond(c, statusOf[error.code], errorBody(error, c.get('requestId')))
}

const maxLoggedPath = 200

/** Handles one request of a caller who was let in. */
export type Handle<A extends Access, D extends Documentation, Device> = (
  c: Context<HttpEnv>,
  reply: Reply<D>,
  caller: CallerOf<A, Device>,
) => Response | Promise<Response>

export interface EndpointOptions<Device extends { readonly id: number }> {
  readonly log: Log
  /** Required, except for a route that is open to everybody and uncounted. */
  readonly access?: AccessControl<Device>
}

const uncounted: Admit<undefined> = () => Promise.resolve(undefined)

const admissionTo = <A extends Access, D extends Documentation, Device extends { readonly id: number }>(
  { addresses, access: who, limit }: Route<A, D>,
  access: AccessControl<Device> | undefined,
): Admit<CallerOf<A, Device>> => {
  if (limit === 'uncounted' && who === 'none')
    return uncounted as Admit<unknown> as Admit<CallerOf<A, Device>>
  if (access === undefined || limit === 'uncounted')
    throw new Error(`${addresses[0]}: only a route that is open to everybody may be uncounted`)
  return access.admit(who, limit)
}

const nothingHere = () => {
  throw new AppError('NOT_FOUND', 'There is nothing at this address.')
}

/** Answers a request that a door hands over without Hono. It never rejects. */
export type DirectAnswer = (c: RequestContext) => Promise<unknown>

const directAnswers = new WeakMap<Hono<HttpEnv>, DirectAnswer>()

/** For an app that {@link endpoint} made of a route with `direct`. */
export const directAnswerOf = (app: Hono<HttpEnv>): DirectAnswer | undefined => directAnswers.get(app)

/**
 * The app that answers on the addresses of a route, and 404 on any other.
 * @throws {Error} for a route that needs access control and got none.
 */
export function endpoint<A extends Access, D extends Documentation, Device extends { readonly id: number }>(
  route: Route<A, D>,
  { log, access }: EndpointOptions<Device>,
  handle: Handle<A, D, Device>,
): Hono<HttpEnv> {
  const respondWithFault = (c: RequestContext, error: unknown): Response => {
    const known = knownError(error)
    if (known !== undefined && known.code !== 'INTERNAL') return respondWithError(c, known)
    log.error('request failed', { request_id: c.get('requestId'), error })
    return respondWithError(c, new AppError('INTERNAL', internalMessage))
  }
  const answer = async <Caller>(
    c: Context<HttpEnv>,
    admit: Admit<Caller>,
    handle: (c: Context<HttpEnv>, reply: Reply<D>, caller: Caller) => Response | Promise<Response>,
  ): Promise<Response> => {
    const started = performance.now()
    const requestId = nextRequestId()
    c.set('requestId', requestId)
    c.set('headers', {})
    let response: Response
    try {
      response = await handle(c, respond as Reply<D>, await admit(c))
    } catch (error) {
      response = respondWithFault(c, error)
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
  const admit = admissionTo(route, access)
  const app = createApp()
  for (const address of route.addresses) {
    const [method = '', path = ''] = address.split(' ')
    // Registers one handler for each address, because a chain of middleware would cost a tenth of the time of a message.
    app.on(method, path, (c) => answer(c, admit, handle))
  }
  app.notFound((c) => answer(c, uncounted, nothingHere))
  if (route.direct) directAnswers.set(app, (c) => answer(c as Context<HttpEnv>, admit, handle))
  return app
}
