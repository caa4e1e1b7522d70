/** GET /docs/{name}: the script and the style of the page at /docs. */
import * as z from 'zod'
import { AppError } from '../../lib/errors.ts'
import { acceptedEncodings } from '../../lib/http/accept-encoding.ts'
import { ViewerFiles } from '../../lib/http/api-viewer.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, ifNoneMatch, notModified, typedBy } from '../../lib/http/route.ts'
import { entityTag, isUnchanged } from '../../lib/http/versions.ts'
import type { Log } from '../../lib/log.ts'
import { serveUncounted } from '../../lib/serve.ts'

export const documentation = () =>
  describeRoute({
    summary: 'Serves a part of the page that describes this API',
    pathParameters: {
      name: { description: 'As the page names it.', schema: { type: 'string' }, example: 'start.js' },
    },
    otherParameters: ifNoneMatch,
    responses: {
      200: {
        description: 'Compressed with gzip where the caller takes that.',
        content: { 'text/javascript': z.string(), 'text/css': z.string() },
        headers: ['ETag'],
      },
      304: notModified,
    },
  })

export const route = defineRoute({
  addresses: ['GET /docs/:name'],
  access: 'none',
  limit: 'uncounted',
  documentation: typedBy<typeof documentation>(),
})

/** One of the documented types stands for both: the compiler cannot tell which of them a file has. */
type ContentType = 'text/javascript; charset=utf-8'

export const showDocsFile = (shared: { readonly log: Log }) => {
  const files = new ViewerFiles()
  return endpoint(route, shared, async (c, reply) => {
    const file = await files.file(c.req.param('name') ?? '')
    if (file === undefined) throw new AppError('NOT_FOUND', 'There is nothing at this address.')
    const contentType = file.contentType as ContentType
    const headers = c.get('headers')
    Object.assign(headers, {
      ETag: entityTag(file.version),
      // The name stays when an upgrade changes the content.
      'Cache-Control': 'no-cache',
      Vary: 'Accept-Encoding',
    })
    if (isUnchanged(c, file.version)) return reply(c, 304)
    if (!acceptedEncodings(c.req.header('accept-encoding')).has('gzip'))
      return reply(c, 200, file.content, contentType)
    headers['Content-Encoding'] = 'gzip'
    return reply(c, 200, file.gzipped, contentType)
  })
}

export const handler = serveUncounted(showDocsFile, {})
