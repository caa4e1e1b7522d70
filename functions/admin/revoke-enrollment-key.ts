/** DELETE /api/v1/admin/enrollment-keys/{id}: ends it; devices that were registered with it stay. */
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
    summary: 'Revokes an enrolment key',
    responses: {
      200: json(
        'It registers nothing any more; the devices that it has registered stay.',
        z.strictObject({
          status: fields.success,
          message: z.string(),
          enrollment_key: deviceResponses.enrollmentKey,
        }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['DELETE /api/v1/admin/enrollment-keys/:id'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  enrollmentKeys: Pick<EnrollmentKeys, 'revoke'>
}

export const revokeEnrollmentKey = ({ enrollmentKeys, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const key = await enrollmentKeys.revoke(idOf(c, 'enrolment key'))
    return reply(c, 200, {
      status: 'success',
      message: 'Enrolment key revoked successfully',
      enrollment_key: enrollmentKeyView(key, Date.now()),
    })
  })

export const handler = serve(revokeEnrollmentKey, { enrollmentKeys: runtime.registeredEnrollmentKeys })
