/** GET /api/v1/admin/dead-letters: messages that could not be stored, with the reason, newest first. */

import * as z from 'zod'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { queryOf } from '../../lib/http/validate.ts'
import { optionalParameter, pageCursor, pageLimit } from '../../lib/parameters.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'
import { type DeadLetters, deadLetterView } from '../../lib/telemetry/dead-letters.ts'
import * as telemetryResponses from '../../lib/telemetry/responses.ts'

const Query = z.object({
  device_id: optionalParameter(
    z
      .string()
      .regex(/^\d{1,15}$/, 'must be the id of a device')
      .meta({ description: 'Only those of this device.' })
      .transform(Number),
  ),
  limit: optionalParameter(pageLimit(1000)),
  cursor: optionalParameter(pageCursor),
})

export const documentation = () =>
  describeRoute({
    summary: 'Lists messages that could not be stored',
    description: 'Of each device the newest 1000 are kept, at most 1 MB of them.',
    query: Query,
    exampleQuery: { limit: 20 },
    responses: {
      200: json(
        'Newest first.',
        z.strictObject({
          status: fields.success,
          total: fields.count,
          dead_letters: z.array(telemetryResponses.deadLetter),
          next_cursor: fields.nextCursor,
        }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['GET /api/v1/admin/dead-letters'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  deadLetters: Pick<DeadLetters, 'list'>
}

export const listDeadLetters = ({ deadLetters, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const { device_id: deviceId, limit = 100, cursor } = queryOf(c, Query)
    const { letters, total } = await deadLetters.list({ deviceId, limit: limit + 1, before: cursor })
    const page = letters.slice(0, limit)
    return reply(c, 200, {
      status: 'success',
      total,
      dead_letters: page.map(deadLetterView),
      ...(letters.length > limit ? { next_cursor: String(page.at(-1)?.id) } : {}),
    })
  })

export const handler = serve(listDeadLetters, { deadLetters: runtime.deadLetters })
