/** POST /api/v1/admin/devices/{id}/rotate-key: makes a new key for a device, shown here only; its newest old key stays valid for a while. */

import * as z from 'zod'
import type { Sessions } from '../../lib/broker/sessions.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import { grace, keyEnd, keyLife, notAnObject } from '../../lib/devices/fields.ts'
import * as deviceResponses from '../../lib/devices/responses.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { idOf, optionalBody } from '../../lib/http/validate.ts'
import { formatMillis } from '../../lib/iso-time.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

const Body = z.object({ grace_s: grace, ...keyEnd }, notAnObject)

export const documentation = () =>
  describeRoute({
    summary: 'Makes a new key for a device',
    description: 'Its newest key stays valid until the grace ends; any other ends at once.',
    body: {
      schema: Body,
      required: false,
      examples: { 'an hour': { grace_s: 3600 }, 'for 90 days': { ttl_s: 7_776_000 } },
    },
    fieldDescriptions: {
      grace_s: 'Seconds that the previous key stays valid.',
      ttl_s: 'Seconds that the new key lives; without it and `expires_at` it has no end.',
      expires_at: 'The end of the new key, instead of `ttl_s`.',
    },
    responses: {
      200: json(
        'The new key.',
        z.strictObject({
          status: fields.success,
          message: z.string(),
          device_id: fields.deviceId,
          api_key: deviceResponses.apiKey,
          previous_key_expires_at: deviceResponses.previousKeyExpiresAt,
          expires_at: deviceResponses.keyExpiresAt,
        }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['POST /api/v1/admin/devices/:id/rotate-key'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  devices: Devices
  sessions: Sessions
}

export const rotateDeviceKey = ({ devices, sessions, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const id = idOf(c)
    const { grace_s: graceS, ...end } = await optionalBody(c, Body)
    const life = keyLife(end, Date.now())
    const { apiKey, previousKeyExpiresAt, expiresAt, ended } = await devices.rotateKey(id, {
      graceS,
      life,
      by: 'admin',
    })
    if (ended) await sessions.end(id)
    return reply(c, 200, {
      status: 'success',
      message: 'API key rotated successfully',
      device_id: id,
      api_key: apiKey,
      previous_key_expires_at: previousKeyExpiresAt === null ? null : formatMillis(previousKeyExpiresAt),
      expires_at: expiresAt === null ? null : formatMillis(expiresAt),
    })
  })

export const handler = serve(rotateDeviceKey, { devices: runtime.devices, sessions: runtime.sessions })
