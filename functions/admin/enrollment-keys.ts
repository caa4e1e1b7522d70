/** GET /api/v1/admin/enrollment-keys: the keys with which devices register themselves, newest first. */
import * as z from 'zod'
import { type EnrollmentKeys, enrollmentKeyView } from '../../lib/devices/enrollment-keys.ts'
import * as deviceResponses from '../../lib/devices/responses.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { queryOf } from '../../lib/http/validate.ts'
import { optionalParameter, pageCursor, pageLimit } from '../../lib/parameters.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

const Query = z.object({
  limit: optionalParameter(pageLimit(1000)),
  cursor: optionalParameter(pageCursor),
})

export const documentation = () =>
  describeRoute({
    summary: 'Lists the enrolment keys',
    description: 'Revoked ones are kept for 90 days.',
    query: Query,
    exampleQuery: { limit: 20 },
    responses: {
      200: json(
        'Newest first.',
        z.strictObject({
          status: fields.success,
          enrollment_keys: z.array(deviceResponses.enrollmentKey),
          next_cursor: fields.nextCursor,
        }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['GET /api/v1/admin/enrollment-keys'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  enrollmentKeys: Pick<EnrollmentKeys, 'list'>
}

export const listEnrollmentKeys = ({ enrollmentKeys, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const { limit = 100, cursor } = queryOf(c, Query)
    const found = await enrollmentKeys.list({ limit: limit + 1, before: cursor })
    const page = found.slice(0, limit)
    const now = Date.now()
    return reply(c, 200, {
      status: 'success',
      enrollment_keys: page.map((key) => enrollmentKeyView(key, now)),
      ...(found.length > limit ? { next_cursor: String(page.at(-1)?.id) } : {}),
    })
  })

export const handler = serve(listEnrollmentKeys, { enrollmentKeys: runtime.registeredEnrollmentKeys })
