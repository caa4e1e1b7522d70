/** GET /docs: the API for people, shown by Swagger UI from the files of this server. */
import { hash } from 'node:crypto'
import * as z from 'zod'
import { viewerPage, viewerPolicy } from '../../lib/http/api-viewer.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, ifNoneMatch, notModified, typedBy } from '../../lib/http/route.ts'
import { entityTag, isUnchanged } from '../../lib/http/versions.ts'
import type { Log } from '../../lib/log.ts'
import { serveUncounted } from '../../lib/serve.ts'

export const documentation = () =>
  describeRoute({
    summary: 'Describes this API for people',
    otherParameters: ifNoneMatch,
    responses: {
      200: { description: 'A page.', content: { 'text/html': z.string() }, headers: ['ETag'] },
      304: notModified,
    },
  })

export const route = defineRoute({
  addresses: ['GET /docs'],
  access: 'none',
  limit: 'uncounted',
  documentation: typedBy<typeof documentation>(),
})

export const showDocs = (shared: { readonly log: Log }) => {
  const digest = hash('sha256', viewerPage, 'hex').slice(0, 32)
  return endpoint(route, shared, (c, reply) => {
    Object.assign(c.get('headers'), {
      ETag: entityTag(digest),
      'Cache-Control': 'no-cache',
      'Content-Security-Policy': viewerPolicy,
    })
    return isUnchanged(c, digest) ? reply(c, 304) : reply(c, 200, viewerPage, 'text/html; charset=utf-8')
  })
}

export const handler = serveUncounted(showDocs, {})
