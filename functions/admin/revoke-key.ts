/** POST /api/v1/admin/devices/{id}/revoke-key: revokes all keys of a device, or the keys with the given prefix. */

import * as z from 'zod'
import type { Sessions } from '../../lib/broker/sessions.ts'
import { prefixLength } from '../../lib/devices/credentials.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import { notAnObject } from '../../lib/devices/fields.ts'
import * as deviceResponses from '../../lib/devices/responses.ts'
import { AppError } from '../../lib/errors.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { idOf, optionalBody } from '../../lib/http/validate.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

const Body = z.object(
  {
    key_prefix: z
      .string()
      .regex(
        new RegExp(`^[A-Za-z0-9]{${prefixLength}}$`),
        `must be the first ${prefixLength} characters of a key`,
      )
      .optional(),
  },
  notAnObject,
)

export const documentation = () =>
  describeRoute({
    summary: 'Ends the keys of a device',
    description: 'All of them, or those with the prefix that is named; none with this prefix is not found.',
    body: { schema: Body, required: false, examples: { all: {} } },
    fieldDescriptions: { key_prefix: 'The first characters of a key, as `auth_records` shows them.' },
    responses: {
      200: json(
        'They are ended.',
        z.strictObject({
          status: fields.success,
          message: z.string(),
          device_id: fields.deviceId,
          revoked_keys: fields.count,
          sessions_ended: deviceResponses.sessionsEnded,
        }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['POST /api/v1/admin/devices/:id/revoke-key'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  devices: Devices
  sessions: Sessions
}

export const revokeDeviceKey = ({ devices, sessions, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const id = idOf(c)
    const { key_prefix: prefix } = await optionalBody(c, Body)
    const revoked = await devices.revokeKeys(id, prefix)
    if (revoked === 0 && prefix !== undefined) {
      throw new AppError('NOT_FOUND', 'The device has no live key with this prefix.')
    }
    // End all sessions, since a session does not tell its key; a device with another valid key connects again.
    const sessionsEnded = await sessions.end(id)
    return reply(c, 200, {
      status: 'success',
      message: 'API key revoked successfully',
      device_id: id,
      revoked_keys: revoked,
      sessions_ended: sessionsEnded,
    })
  })

export const handler = serve(revokeDeviceKey, { devices: runtime.devices, sessions: runtime.sessions })
