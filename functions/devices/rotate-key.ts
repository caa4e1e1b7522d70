/** POST /api/v1/devices/rotate-key: makes a new key for the calling device; the key that it used stays valid for a while. */

import * as z from 'zod'
import type { Sessions } from '../../lib/broker/sessions.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import { grace, notAnObject } from '../../lib/devices/fields.ts'
import * as deviceResponses from '../../lib/devices/responses.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { optionalBody } from '../../lib/http/validate.ts'
import { formatMillis } from '../../lib/iso-time.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

const Body = z.object({ grace_s: grace }, notAnObject)

export const documentation = () =>
  describeRoute({
    summary: 'Makes a new key for the device',
    description:
      'The key that was used stays valid until the grace ends; any other ends at once. The new key lives as long as the used one was to live.',
    body: { schema: Body, required: false, examples: { 'an hour': { grace_s: 3600 } } },
    fieldDescriptions: { grace_s: 'Seconds that the previous key stays valid.' },
    responses: {
      200: json(
        'The new key.',
        z.strictObject({
          message: z.string(),
          api_key: deviceResponses.apiKey,
          previous_key_expires_at: deviceResponses.previousKeyExpiresAt,
          expires_at: deviceResponses.keyExpiresAt,
        }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['POST /api/v1/devices/rotate-key'],
  access: 'device',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  devices: Devices
  sessions: Sessions
}

export const rotateOwnKey = ({ devices, sessions, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply, { id }) => {
    const { grace_s: graceS } = await optionalBody(c, Body)
    const usedKey = c.req.header('x-api-key') ?? ''
    const { apiKey, previousKeyExpiresAt, expiresAt, ended } = await devices.rotateKey(id, {
      graceS,
      usedKey,
      by: 'device',
    })
    // End all sessions, since a session does not tell its key; the device connects again with the new key.
    if (ended) await sessions.end(id)
    return reply(c, 200, {
      message: 'API key rotated successfully',
      api_key: apiKey,
      previous_key_expires_at: previousKeyExpiresAt === null ? null : formatMillis(previousKeyExpiresAt),
      expires_at: expiresAt === null ? null : formatMillis(expiresAt),
    })
  })

export const handler = serve(rotateOwnKey, { devices: runtime.devices, sessions: runtime.sessions })
