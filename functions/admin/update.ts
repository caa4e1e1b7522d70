/** PUT /api/v1/admin/devices/{id}: changes the registered fields of a device. */

import * as z from 'zod'
import type { Alerts } from '../../lib/alerts/alerts.ts'
import { clearLeavers } from '../../lib/alerts/leavers.ts'
import type { Sessions } from '../../lib/broker/sessions.ts'
import { deviceDetails } from '../../lib/devices/device.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import {
  description,
  deviceStatus,
  identity,
  notAnObject,
  offlineAfter,
  toDescription,
} from '../../lib/devices/fields.ts'
import { labelChange } from '../../lib/devices/labels.ts'
import * as deviceResponses from '../../lib/devices/responses.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { idOf, jsonBody } from '../../lib/http/validate.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

const Body = z.object(
  {
    name: identity.name.optional(),
    device_type: identity.device_type.optional(),
    ...description,
    status: deviceStatus.optional(),
    offline_after_s: offlineAfter,
    labels: labelChange,
  },
  notAnObject,
)

export const documentation = () =>
  describeRoute({
    summary: 'Changes the registered fields of a device',
    description: 'What is left out stays as it is. A device that becomes inactive is cut off.',
    body: {
      schema: Body,
      required: true,
      examples: {
        place: { location: 'Greenhouse, north', offline_after_s: 600 },
        labels: { labels: { site: 'north', floor: null } },
      },
    },
    fieldDescriptions: {
      offline_after_s: 'Seconds; null takes the default of the settings.',
      labels: 'Sets these labels and keeps the others; null removes one, or all of them.',
    },
    responses: {
      200: json(
        'The device as it is now.',
        z.strictObject({
          status: fields.success,
          message: z.string(),
          device: deviceResponses.deviceDetails,
        }),
      ),
    },
    errors: [409],
  })

export const route = defineRoute({
  addresses: ['PUT /api/v1/admin/devices/:id'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  devices: Devices
  sessions: Sessions
  alerts: Pick<Alerts, 'clearOf'>
}

export const updateDevice = ({ devices, sessions, alerts, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const id = idOf(c)
    const body = await jsonBody(c, Body)
    const change = {
      ...toDescription(body),
      name: body.name,
      deviceType: body.device_type,
      status: body.status,
      offlineAfterS: body.offline_after_s,
      labels: body.labels,
    }
    const { device } = await devices.update(id, change, 'admin')
    if (device.status === 'inactive') await sessions.end(id)
    if (body.status !== undefined) await clearLeavers([device], { alerts, log: shared.log })
    return reply(c, 200, {
      status: 'success',
      message: 'Device updated successfully',
      device: deviceDetails(device, Date.now()),
    })
  })

export const handler = serve(updateDevice, {
  devices: runtime.devices,
  sessions: runtime.sessions,
  alerts: runtime.alerts,
})
