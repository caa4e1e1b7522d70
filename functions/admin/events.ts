/** GET /api/v1/admin/devices/{id}/events: events of a device with their reasons, newest first. */

import * as z from 'zod'
import * as configurationResponses from '../../lib/configuration/responses.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import { eventType, reasonOf } from '../../lib/devices/event-words.ts'
import { eventKinds } from '../../lib/devices/events.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { idOf, queryOf } from '../../lib/http/validate.ts'
import { formatMillis } from '../../lib/iso-time.ts'
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
    summary: 'Lists what happened to a device',
    query: Query,
    exampleQuery: { limit: 20 },
    responses: {
      200: json(
        'Newest first.',
        z.strictObject({
          status: fields.success,
          device_id: fields.deviceId,
          events: z.array(
            z.strictObject({
              event: z.enum(eventKinds),
              type: z.enum(eventKinds.map(eventType)).describe('The same, as other systems know it.'),
              reason: z.string().optional().describe('Why the device went online or offline.'),
              timestamp: fields.time.describe('Of an event that repeats: the first time.'),
              count: z.int().min(1).optional().describe('How often it happened; of events that repeat.'),
              last_timestamp: fields.time.optional(),
              detail: z.record(z.string(), configurationResponses.value).nullable(),
            }),
          ),
          next_cursor: fields.nextCursor,
        }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['GET /api/v1/admin/devices/:id/events'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  devices: Devices
}

export const deviceEvents = ({ devices, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const { id } = await devices.get(idOf(c))
    const { limit = 100, cursor } = queryOf(c, Query)
    const found = await devices.events(id, { limit: limit + 1, before: cursor })
    const page = found.slice(0, limit)
    return reply(c, 200, {
      status: 'success',
      device_id: id,
      events: page.map(({ kind, detail, at, repeated }) => ({
        event: kind,
        type: eventType(kind),
        reason: reasonOf({ kind, detail }),
        timestamp: formatMillis(at),
        ...(repeated && { count: repeated.count, last_timestamp: formatMillis(repeated.lastAt) }),
        detail,
      })),
      ...(found.length > limit ? { next_cursor: String(page.at(-1)?.id) } : {}),
    })
  })

export const handler = serve(deviceEvents, { devices: runtime.devices })
