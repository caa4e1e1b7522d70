/** GET /docs: the same description as a page for people; it loads nothing and runs nothing. */
import { hash } from 'node:crypto'
import type { Device } from '../../lib/devices/device.ts'
import { type ApiDocument, apiPage, pageStyle } from '../../lib/http/api-page.ts'
import type { Gate } from '../../lib/http/auth.ts'
import { endpoint, reply } from '../../lib/http/endpoint.ts'
import { lambda } from '../../lib/http/lambda.ts'
import { entityTag, isUnchanged } from '../../lib/http/versions.ts'
import type { Log } from '../../lib/log.ts'
import document from '../../lib/openapi.json' with { type: 'json' }
import * as runtime from '../../lib/runtime.ts'

export const showDocs = ({ log, gate }: { log: Log; gate: Gate<Device> }) => {
  const styleHash = hash('sha256', pageStyle, 'base64')
  let last = { origin: '', page: '', digest: '' }
  const written = (origin: string) => {
    if (last.origin === origin) return last
    // The type of a literal of this size says more than anybody asks of it.
    const page = apiPage(document as unknown as ApiDocument, origin)
    last = { origin, page, digest: hash('sha256', page, 'hex').slice(0, 32) }
    return last
  }
  return endpoint(log, 'GET /docs', gate.open(), (c) => {
    const { page, digest } = written(new URL(c.req.url).origin)
    Object.assign(c.get('headers'), {
      ETag: entityTag(digest),
      'Cache-Control': 'public, max-age=60',
      'Content-Security-Policy': `default-src 'none'; style-src 'sha256-${styleHash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
    })
    return isUnchanged(c, digest) ? reply(c, 304, undefined) : reply(c, 200, page, 'text/html; charset=utf-8')
  })
}

export const handler = lambda(async () => showDocs({ log: runtime.log(), gate: await runtime.gate() }))
