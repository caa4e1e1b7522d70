/** GET /api/v1/devices/statuses: the state of every device in short, as dashboards of older clients ask for it. */
import * as z from 'zod'
import { isOnline } from '../../lib/devices/device.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import * as deviceResponses from '../../lib/devices/responses.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { queryOf } from '../../lib/http/validate.ts'
import { optionalParameter, pageLimit, pageOffset } from '../../lib/parameters.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

const Query = z.object({
  limit: optionalParameter(pageLimit(1000)),
  offset: optionalParameter(pageOffset),
})

export const documentation = () =>
  describeRoute({
    summary: 'Lists devices with their states',
    description: '`GET /api/v1/admin/devices` tells more of each device, and has filters.',
    query: Query,
    exampleQuery: { limit: 50, offset: 0 },
    responses: {
      200: json(
        'In the order of their ids.',
        z.strictObject({
          status: fields.success,
          devices: z.array(deviceResponses.deviceState),
          meta: z.strictObject({
            total: fields.count.describe('Devices, on all pages.'),
            limit: z.int().min(1),
            offset: fields.count,
          }),
        }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['GET /api/v1/devices/statuses'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  devices: Pick<Devices, 'list'>
}

export const deviceStates = ({ devices, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const { limit = 100, offset = 0 } = queryOf(c, Query)
    const { devices: page, total } = await devices.list({ limit, offset })
    const now = Date.now()
    return reply(c, 200, {
      status: 'success',
      devices: page.map((device) => ({
        id: device.id,
        name: device.name,
        device_type: device.deviceType,
        status: device.status,
        is_online: isOnline(device, now),
      })),
      meta: { total, limit, offset },
    })
  })

export const handler = serve(deviceStates, { devices: runtime.devices })
