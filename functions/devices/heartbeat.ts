/** POST /api/v1/devices/heartbeat: updates when the calling device was last seen; the body is not read. */
import * as z from 'zod'
import type { Devices } from '../../lib/devices/devices.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { formatMillis } from '../../lib/iso-time.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

export const documentation = () =>
  describeRoute({
    summary: 'Tells that the device is there',
    description: 'A body is not needed and not read.',
    responses: {
      200: json(
        'It was noted.',
        z.strictObject({
          message: z.string(),
          device_id: fields.deviceId,
          timestamp: fields.time,
          status: z.literal('online'),
        }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['POST /api/v1/devices/heartbeat'],
  access: 'device',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  devices: Devices
}

export const sendHeartbeat = ({ devices, ...shared }: Deps) =>
  endpoint(route, shared, (c, reply, { id }) => {
    devices.touch(id)
    return reply(c, 200, {
      message: 'Heartbeat received',
      device_id: id,
      timestamp: formatMillis(Date.now()),
      status: 'online',
    })
  })

export const handler = serve(sendHeartbeat, { devices: runtime.devices })
