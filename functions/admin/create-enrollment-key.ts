/** POST /api/v1/admin/enrollment-keys: makes a key with which devices register themselves, shown here only. */
import * as z from 'zod'
import { type EnrollmentKeys, enrollmentKeyView } from '../../lib/devices/enrollment-keys.ts'
import { identity, keyEnd, keyLife, notAnObject } from '../../lib/devices/fields.ts'
import * as deviceResponses from '../../lib/devices/responses.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { jsonBody } from '../../lib/http/validate.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

const Body = z.object(
  {
    name: identity.name,
    device_type: identity.device_type.nullish(),
    max_devices: z
      .int('must be a whole number')
      .min(1, 'must be 1 or more')
      .max(1_000_000, 'must be at most 1000000')
      .nullish(),
    ...keyEnd,
  },
  notAnObject,
)

export const documentation = () =>
  describeRoute({
    summary: 'Makes an enrolment key',
    description: 'Devices that send it as `X-Enrollment-Key` register themselves.',
    body: {
      schema: Body,
      required: true,
      examples: {
        batch: {
          name: 'Batch 12, greenhouse north',
          device_type: 'climate',
          max_devices: 200,
          ttl_s: 2_592_000,
        },
        anything: { name: 'Workshop' },
      },
    },
    fieldDescriptions: {
      name: 'What it is for.',
      device_type: 'The only type that may be registered with it; any without.',
      max_devices: 'How many devices may be registered with it; any number without.',
      ttl_s: 'Seconds that it may be used; without it and `expires_at` it has no end.',
      expires_at: 'Its end, instead of `ttl_s`.',
    },
    responses: {
      201: json(
        'The key: it is shown here only.',
        z.strictObject({
          status: fields.success,
          message: z.string(),
          key: deviceResponses.apiKey,
          enrollment_key: deviceResponses.enrollmentKey,
        }),
      ),
    },
    errors: [409],
  })

export const route = defineRoute({
  addresses: ['POST /api/v1/admin/enrollment-keys'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  enrollmentKeys: Pick<EnrollmentKeys, 'create'>
}

export const createEnrollmentKey = ({ enrollmentKeys, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const { name, device_type: deviceType, max_devices: maxDevices, ...end } = await jsonBody(c, Body)
    const now = Date.now()
    const expiresAt = keyLife(end, now)?.expiresAt
    const { key, enrollmentKey } = await enrollmentKeys.create({ name, deviceType, maxDevices, expiresAt })
    return reply(c, 201, {
      status: 'success',
      message: 'Enrolment key created successfully',
      key,
      enrollment_key: enrollmentKeyView(enrollmentKey, now),
    })
  })

export const handler = serve(createEnrollmentKey, { enrollmentKeys: runtime.registeredEnrollmentKeys })
