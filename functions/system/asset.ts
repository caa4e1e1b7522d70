/** GET /assets/{name}: scripts, styles and images of the dashboard, which are built into this function. */
import { gunzipSync } from 'node:zlib'
import * as z from 'zod'
import { type DashboardAsset, dashboardAssets } from '#dashboard-files'
import { AppError } from '../../lib/errors.ts'
import { acceptedEncodings } from '../../lib/http/accept-encoding.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, ifNoneMatch, notModified, typedBy } from '../../lib/http/route.ts'
import { entityTag, isUnchanged } from '../../lib/http/versions.ts'
import type { Log } from '../../lib/log.ts'
import { serveUncounted } from '../../lib/serve.ts'

export const documentation = () =>
  describeRoute({
    summary: 'Serves a part of the dashboard',
    description: 'A name never gets another content, so that clients may keep it for ever.',
    pathParameters: {
      name: {
        description: 'As the page names it.',
        schema: { type: 'string' },
        example: Object.keys(dashboardAssets)[0] ?? '',
      },
    },
    otherParameters: ifNoneMatch,
    responses: {
      200: {
        description: 'Compressed where the caller takes that.',
        content: { 'text/javascript': z.string(), 'text/css': z.string(), 'image/svg+xml': z.string() },
        headers: ['ETag'],
      },
      304: notModified,
    },
  })

export const route = defineRoute({
  addresses: ['GET /assets/:name'],
  access: 'none',
  limit: 'uncounted',
  documentation: typedBy<typeof documentation>(),
})

type ContentType = 'text/javascript; charset=utf-8' | 'text/css; charset=utf-8' | 'image/svg+xml'

const maxAgeS = 31_536_000

/** The smallest form that the client takes, with the name of its encoding. */
const encode = ({ brotli, gzip }: DashboardAsset, header: string | undefined) => {
  const accepted = acceptedEncodings(header)
  if (accepted.has('br')) return { body: Buffer.from(brotli, 'base64'), encoding: 'br' }
  const compressed = Buffer.from(gzip, 'base64')
  if (accepted.has('gzip')) return { body: compressed, encoding: 'gzip' }
  return { body: gunzipSync(compressed), encoding: undefined }
}

export const showAsset = (shared: { readonly log: Log }) =>
  endpoint(route, shared, (c, reply) => {
    const name = c.req.param('name') ?? ''
    const asset = Object.hasOwn(dashboardAssets, name) ? dashboardAssets[name] : undefined
    if (asset === undefined) throw new AppError('NOT_FOUND', 'There is nothing at this address.')
    const headers = c.get('headers')
    Object.assign(headers, {
      // The name holds the hash of the content, so that the name alone is the version.
      ETag: entityTag(name),
      'Cache-Control': `public, max-age=${maxAgeS}, immutable`,
      Vary: 'Accept-Encoding',
    })
    if (isUnchanged(c, name)) return reply(c, 304)
    const { body, encoding } = encode(asset, c.req.header('accept-encoding'))
    if (encoding !== undefined) headers['Content-Encoding'] = encoding
    return reply(c, 200, body, asset.contentType as ContentType)
  })

export const handler = serveUncounted(showAsset, {})
