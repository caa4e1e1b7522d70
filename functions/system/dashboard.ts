/** GET /: the dashboard, which is built into this function. The page holds no data: it asks the API for them. */
import { hash } from 'node:crypto'
import * as z from 'zod'
import { dashboardPage } from '#dashboard-files'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, ifNoneMatch, notModified, typedBy } from '../../lib/http/route.ts'
import { entityTag, isUnchanged } from '../../lib/http/versions.ts'
import type { Log } from '../../lib/log.ts'
import { serveUncounted } from '../../lib/serve.ts'

export const documentation = () =>
  describeRoute({
    summary: 'Serves the dashboard',
    description: 'A page for operators, who sign in with the admin token.',
    otherParameters: ifNoneMatch,
    responses: {
      200: { description: 'A page.', content: { 'text/html': z.string() }, headers: ['ETag'] },
      304: notModified,
    },
  })

export const route = defineRoute({
  addresses: ['GET /'],
  access: 'none',
  limit: 'uncounted',
  documentation: typedBy<typeof documentation>(),
})

/** Nothing but our own files: no inline script, no inline style, no frame around the page. */
const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self' data:",
  "frame-ancestors 'none'",
  "base-uri 'none'",
  "form-action 'none'",
].join('; ')

export const showDashboard = (shared: { readonly log: Log }) => {
  const digest = hash('sha256', dashboardPage, 'hex').slice(0, 32)
  return endpoint(route, shared, (c, reply) => {
    Object.assign(c.get('headers'), {
      ETag: entityTag(digest),
      // A page of an older version would ask for assets that are gone.
      'Cache-Control': 'no-cache',
      'Content-Security-Policy': contentSecurityPolicy,
      'Cross-Origin-Opener-Policy': 'same-origin',
    })
    return isUnchanged(c, digest) ? reply(c, 304) : reply(c, 200, dashboardPage, 'text/html; charset=utf-8')
  })
}

export const handler = serveUncounted(showDashboard, {})
