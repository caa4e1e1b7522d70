/** GET /api/v1/admin/deletions: large deletions of telemetry, those that go on and those of the last 30 days, newest first. */
import * as z from 'zod'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { queryOf } from '../../lib/http/validate.ts'
import { optionalParameter, pageCursor, pageLimit } from '../../lib/parameters.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'
import { deletionView } from '../../lib/telemetry/deletion.ts'
import type { Deletions } from '../../lib/telemetry/embedded/deletions.ts'
import * as telemetryResponses from '../../lib/telemetry/responses.ts'

const Query = z.object({
  limit: optionalParameter(pageLimit(1000)),
  cursor: optionalParameter(pageCursor),
})

export const documentation = () =>
  describeRoute({
    summary: 'Lists large deletions of telemetry',
    description:
      'Those that go on, and those that were finished in the last 30 days. InfluxDB deletes with one call: there, the list is empty.',
    query: Query,
    exampleQuery: { limit: 20 },
    responses: {
      200: json(
        'Newest first.',
        z.strictObject({
          status: fields.success,
          deletions: z.array(telemetryResponses.deletion),
          next_cursor: fields.nextCursor,
        }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['GET /api/v1/admin/deletions'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  deletions: Pick<Deletions, 'list'>
}

export const listDeletions = ({ deletions, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const { limit = 100, cursor: before = null } = queryOf(c, Query)
    const found = await deletions.list({ limit: limit + 1, before })
    const page = found.slice(0, limit)
    return reply(c, 200, {
      status: 'success',
      deletions: page.map(deletionView),
      ...(found.length > limit ? { next_cursor: String(page.at(-1)?.id) } : {}),
    })
  })

export const handler = serve(listDeletions, { deletions: runtime.deletions })
