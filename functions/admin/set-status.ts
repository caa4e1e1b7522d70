/** PUT /api/v1/admin/devices/{id}/status: makes a device active, puts it into maintenance, or makes it inactive. */

import * as z from 'zod'
import type { Alerts } from '../../lib/alerts/alerts.ts'
import { clearLeavers } from '../../lib/alerts/leavers.ts'
import type { Sessions } from '../../lib/broker/sessions.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import { deviceStatus, notAnObject } from '../../lib/devices/fields.ts'
import * as deviceResponses from '../../lib/devices/responses.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { idOf, jsonBody } from '../../lib/http/validate.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

const Body = z.object({ status: deviceStatus }, notAnObject)

export const documentation = () =>
  describeRoute({
    summary: 'Sets the status of a device',
    description: 'It takes effect on HTTP and MQTT; a device that becomes inactive is cut off.',
    body: {
      schema: Body,
      required: true,
      examples: { maintenance: { status: 'maintenance' } },
    },
    responses: {
      200: json(
        'The status before and now.',
        z.strictObject({
          status: fields.success,
          message: z.string(),
          device_id: fields.deviceId,
          old_status: deviceResponses.status,
          new_status: deviceResponses.status,
          sessions_ended: deviceResponses.sessionsEnded,
        }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['PUT /api/v1/admin/devices/:id/status'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  devices: Devices
  sessions: Sessions
  alerts: Pick<Alerts, 'clearOf'>
}

export const setDeviceStatus = ({ devices, sessions, alerts, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const id = idOf(c)
    const { status } = await jsonBody(c, Body)
    const { before } = await devices.update(id, { status }, 'admin')
    const sessionsEnded = status === 'inactive' ? await sessions.end(id) : 0
    await clearLeavers([{ id, status }], { alerts, log: shared.log })
    return reply(c, 200, {
      status: 'success',
      message: 'Device status updated successfully',
      device_id: id,
      old_status: before.status,
      new_status: status,
      sessions_ended: sessionsEnded,
    })
  })

export const handler = serve(setDeviceStatus, {
  devices: runtime.devices,
  sessions: runtime.sessions,
  alerts: runtime.alerts,
})
