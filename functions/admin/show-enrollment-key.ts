/** GET /api/v1/admin/enrollment-keys/{id}: a key with which devices register themselves. */
import * as z from 'zod'
import { type EnrollmentKeys, enrollmentKeyView } from '../../lib/devices/enrollment-keys.ts'
import * as deviceResponses from '../../lib/devices/responses.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { idOf } from '../../lib/http/validate.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

export const documentation = () =>
  describeRoute({
    summary: 'Shows an enrolment key',
    responses: {
      200: json(
        'Never the key itself.',
        z.strictObject({
          status: fields.success,
          enrollment_key: deviceResponses.enrollmentKey,
        }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['GET /api/v1/admin/enrollment-keys/:id'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  enrollmentKeys: Pick<EnrollmentKeys, 'get'>
}

export const showEnrollmentKey = ({ enrollmentKeys, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const key = await enrollmentKeys.get(idOf(c, 'enrolment key'))
    return reply(c, 200, {
      status: 'success',
      enrollment_key: enrollmentKeyView(key, Date.now()),
    })
  })

export const handler = serve(showEnrollmentKey, { enrollmentKeys: runtime.registeredEnrollmentKeys })
