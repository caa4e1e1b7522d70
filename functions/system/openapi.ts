/** GET /openapi.json: the requests and responses of this API, made from the schemas of the routes. */
import * as z from 'zod'
import { endpoint } from '../../lib/http/endpoint.ts'
import type { OpenApiDocument } from '../../lib/http/openapi.ts'
import { defineRoute, describeRoute, ifNoneMatch, json, notModified, typedBy } from '../../lib/http/route.ts'
import { entityTag, isUnchanged, textByOrigin } from '../../lib/http/versions.ts'
import type { Log } from '../../lib/log.ts'
import * as runtime from '../../lib/runtime.ts'
import { serveUncounted } from '../../lib/serve.ts'

export const documentation = () => {
  // Without its type: the response is sent as text.
  const openApi: z.ZodType = z.looseObject({
    openapi: z.literal('3.1.1'),
    info: z.looseObject({ title: z.string(), version: z.string() }),
    servers: z.array(z.strictObject({ url: z.url() })).length(1),
    paths: z.record(z.string(), z.looseObject({})),
    components: z.looseObject({}),
  })
  return describeRoute({
    summary: 'Describes this API',
    otherParameters: ifNoneMatch,
    responses: {
      200: json('OpenAPI 3.1.', openApi, 'ETag'),
      304: notModified,
    },
  })
}

export const route = defineRoute({
  addresses: ['GET /openapi.json'],
  access: 'none',
  limit: 'uncounted',
  documentation: typedBy<typeof documentation>(),
})

interface Deps {
  log: Log
  document: OpenApiDocument
}

export const describeApi = ({ document, ...shared }: Deps) => {
  const { openapi, info, ...rest } = document
  const written = textByOrigin((url) => JSON.stringify({ openapi, info, servers: [{ url }], ...rest }))
  return endpoint(route, shared, (c, reply) => {
    const { text, digest } = written(c)
    Object.assign(c.get('headers'), { ETag: entityTag(digest), 'Cache-Control': 'public, max-age=60' })
    return isUnchanged(c, digest) ? reply(c, 304) : reply(c, 200, text)
  })
}

export const handler = serveUncounted(describeApi, { document: runtime.openApi })
