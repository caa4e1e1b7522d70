/** Every address that no other function has: 404, or 405 with what it would take, in the one shape of errors. */
import { AppError } from '../../lib/errors.ts'
import { anybody, endpoint } from '../../lib/http/endpoint.ts'
import { lambda } from '../../lib/http/lambda.ts'
import type { Log } from '../../lib/log.ts'
import * as runtime from '../../lib/runtime.ts'

interface Deps {
  log: Log
  /** Every route there is; paths in Hono's form. */
  routes: readonly { readonly method: string; readonly path: string }[]
}

const toPattern = (path: string) =>
  new RegExp(`^${path.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replace(/:\w+/g, '[^/]+')}$`)

export const notFound = ({ log, routes }: Deps) => {
  const known = routes.map(({ method, path }) => ({ method, path, pattern: toPattern(path) }))
  return endpoint(log, 'ALL *', anybody, (c) => {
    const fitting = known.filter(({ pattern }) => pattern.test(c.req.path))
    // What is written out is no id: /telemetry/status does not take what /telemetry/:id takes.
    const exact = fitting.filter(({ path }) => path === c.req.path)
    const methods = new Set((exact.length > 0 ? exact : fitting).map(({ method }) => method))
    if (methods.size === 0) throw new AppError('NOT_FOUND', 'There is nothing at this address.')
    const allow = [...methods].sort().join(', ')
    c.get('headers').Allow = allow
    throw new AppError('METHOD_NOT_ALLOWED', `This address takes ${allow}.`)
  })
}

export const handler = lambda(async () => notFound({ log: runtime.log(), routes: runtime.routes() }))
