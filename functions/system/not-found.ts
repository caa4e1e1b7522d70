/**
 * Answers every address that no other function has: 404, or 405 with the methods that the address takes. API Gateway and its
 * emulator send HEAD here, and a path with a slash at its end: the function whose route it is answers those.
 */
import type { Hono } from 'hono'
import { AppError } from '../../lib/errors.ts'
import type { HttpEnv } from '../../lib/http/context.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute } from '../../lib/http/route.ts'
import { addRoutes, createApp, type RoutedApp, type SystemRoute } from '../../lib/http/router.ts'
import { httpHandler } from '../../lib/lambda/handler.ts'
import type { Log } from '../../lib/log.ts'
import * as runtime from '../../lib/runtime-base.ts'

interface Deps {
  log: Log
  /** Every route of the system, with its app where no router stands in front of this function. */
  routes: readonly (SystemRoute | RoutedApp)[]
}

const everyAddress = defineRoute({ addresses: ['ALL *'], access: 'none', limit: 'uncounted' })

const toPattern = (path: string) =>
  new RegExp(`^${path.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replace(/:\w+/g, '[^/]+')}$`)

const refusals = ({ log, routes }: Deps): Hono<HttpEnv> => {
  const known = routes.map(({ method, path }) => ({ method, path, pattern: toPattern(path) }))
  return endpoint(everyAddress, { log }, (c) => {
    const fitting = known.filter(({ pattern }) => pattern.test(c.req.path))
    // A literal path goes before a pattern: /telemetry/status does not take the methods of /telemetry/:id.
    const exact = fitting.filter(({ path }) => path === c.req.path)
    const methods = new Set((exact.length > 0 ? exact : fitting).map(({ method }) => method))
    if (methods.size === 0) throw new AppError('NOT_FOUND', 'There is nothing at this address.')
    const allow = [...methods].sort().join(', ')
    c.get('headers').Allow = allow
    throw new AppError('METHOD_NOT_ALLOWED', `This address takes ${allow}.`)
  })
}

export const notFound = (deps: Deps): Hono<HttpEnv> => {
  const app = createApp()
  addRoutes(
    app,
    deps.routes.filter((route): route is RoutedApp => 'app' in route),
  )
  const refused = refusals(deps)
  app.notFound((c) => refused.fetch(c.req.raw, c.env))
  return app
}

export const handler = httpHandler(
  async () => notFound({ log: runtime.log(), routes: runtime.routes() }),
  runtime.log,
)
