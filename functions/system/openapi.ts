/** GET /openapi.json: what this API takes and answers, made from the schemas that check it. */
import { hash } from 'node:crypto'
import type { Device } from '../../lib/devices/device.ts'
import type { Gate } from '../../lib/http/auth.ts'
import { endpoint, reply } from '../../lib/http/endpoint.ts'
import { lambda } from '../../lib/http/lambda.ts'
import { entityTag, isUnchanged } from '../../lib/http/versions.ts'
import type { Log } from '../../lib/log.ts'
import document from '../../lib/openapi.json' with { type: 'json' }
import * as runtime from '../../lib/runtime.ts'

export const describeApi = ({ log, gate }: { log: Log; gate: Gate<Device> }) =>
  endpoint(log, 'GET /openapi.json', gate.open(), (c) => {
    const { openapi, info, ...rest } = document
    const text = JSON.stringify({ openapi, info, servers: [{ url: new URL(c.req.url).origin }], ...rest })
    const digest = hash('sha256', text, 'hex').slice(0, 32)
    c.get('headers').ETag = entityTag(digest)
    c.get('headers')['Cache-Control'] = 'public, max-age=60'
    return isUnchanged(c, digest) ? reply(c, 304, undefined) : reply(c, 200, text)
  })

export const handler = lambda(async () => describeApi({ log: runtime.log(), gate: await runtime.gate() }))
