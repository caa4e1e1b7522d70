/**
 * Small apps for the tests of `lib/http`: they answer `app.request()` without a server in front. This is the one place that
 * says how an endpoint and its access control are put together.
 */
import { type Context, Hono } from 'hono'
import { AppError } from '../../lib/errors.ts'
import { AccessControl, type AccessControlOptions } from '../../lib/http/access-control.ts'
import type { HttpEnv } from '../../lib/http/context.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { type Address, defineRoute } from '../../lib/http/route.ts'
import { createLog, type Log } from '../../lib/log.ts'

export type Bindings = HttpEnv['Bindings']

/** A request from this address, as API Gateway tells it. */
export const from = (sourceIp: string): Bindings => ({ requestContext: { http: { sourceIp } } })

export type TestReply = (status: 200 | 201 | 304, body?: unknown, contentType?: string) => Response
/** `reply` of a route whose documentation no test looks at. */
type AnyReply = (c: Context<HttpEnv>, ...response: Parameters<TestReply>) => Response

/** An endpoint that is open to everybody, or to those whom `admit` lets in. @param addresses `GET /a`, `POST /b/:id`. */
export function openEndpoint(
  addresses: readonly [Address, ...Address[]],
  handle: (c: Context<HttpEnv>, reply: TestReply) => Response | Promise<Response>,
  { log = createLog('silent'), admit }: { log?: Log; admit?: () => Promise<undefined> } = {},
) {
  const route = defineRoute({ addresses, access: 'none', ...(admit ? {} : { limit: 'uncounted' }) })
  const access = admit && ({ admit: () => admit } as unknown as AccessControl<TestDevice>)
  return endpoint(route, { log, ...(access && { access }) }, (c, reply) =>
    handle(c, (...response) => (reply as AnyReply)(c, ...response)),
  )
}

export interface TestDevice {
  readonly id: number
}

export type Access = 'none' | 'device' | 'telemetry' | 'read' | 'admin' | 'enrol' | 'is-admin'

const routes = [
  defineRoute({ addresses: ['GET /none'], access: 'none' }),
  defineRoute({ addresses: ['GET /device'], access: 'device' }),
  defineRoute({ addresses: ['GET /telemetry'], access: 'device', limit: 'telemetry' }),
  defineRoute({ addresses: ['GET /read'], access: 'read' }),
  defineRoute({ addresses: ['GET /admin'], access: 'admin' }),
  defineRoute({ addresses: ['GET /enrol'], access: 'enrol' }),
]

/** Access control, with one path for each kind of access: `GET /device` answers `{ caller }`. */
export function accessApp({
  log = createLog('silent'),
  ...options
}: Omit<AccessControlOptions<TestDevice>, 'log'> & { log?: Log }) {
  const access = new AccessControl({ ...options, log })
  const app = new Hono()
  for (const route of routes)
    app.route(
      '/',
      endpoint(route, { log, access }, (c, reply, caller) =>
        (reply as AnyReply)(c, 200, { caller: caller ?? null }),
      ),
    )
  const isAdmin = defineRoute({ addresses: ['GET /is-admin'], access: 'none', limit: 'uncounted' })
  app.route(
    '/',
    endpoint(isAdmin, { log }, async (c, reply) =>
      (reply as AnyReply)(c, 200, { caller: await access.isAdmin(c) }),
    ),
  )
  return { app, delayForDevice: (deviceId: number) => access.delayForDevice(deviceId) }
}

/** Runs one function of `lib/http` on a request: answers `{ value }`, or the error that it threw. */
export function appFor(address: `${string} ${string}`, value: (c: Context<HttpEnv>) => unknown) {
  const [method = '', path = ''] = address.split(' ')
  return new Hono<HttpEnv>().on(method, path, async (c) => {
    c.set('headers', {})
    try {
      return c.json({ value: await value(c) })
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      const { code, message, details } = error
      return c.json({ code, message, details }, 400, c.get('headers'))
    }
  })
}
