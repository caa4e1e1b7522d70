/**
 * PUT /api/v1/devices/config: changes the description and status of the calling device. In spite of its path it does not change
 * the desired configuration: POST does.
 */
import * as z from 'zod'
import { deviceView } from '../../lib/devices/device.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import { description, notAnObject, toDescription } from '../../lib/devices/fields.ts'
import * as deviceResponses from '../../lib/devices/responses.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { jsonBody } from '../../lib/http/validate.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

const Body = z.object(
  {
    ...description,
    status: z
      .enum(
        ['active', 'maintenance'],
        'must be active or maintenance: only an operator makes a device inactive',
      )
      .optional(),
  },
  notAnObject,
)

export const documentation = () =>
  describeRoute({
    summary: 'Changes the description and status of the device itself',
    description: 'What is left out stays as it is.',
    body: {
      schema: Body,
      required: true,
      examples: { firmware: { firmware_version: '1.4.2', status: 'maintenance' } },
    },
    responses: {
      200: json(
        'The device as it is now.',
        z.strictObject({ message: z.string(), device: deviceResponses.device }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['PUT /api/v1/devices/config'],
  access: 'device',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  devices: Devices
}

export const updateOwnDevice = ({ devices, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply, { id }) => {
    const body = await jsonBody(c, Body)
    devices.touch(id)
    const { device } = await devices.update(id, { ...toDescription(body), status: body.status }, 'device')
    return reply(c, 200, { message: 'Device updated successfully', device: deviceView(device) })
  })

export const handler = serve(updateOwnDevice, { devices: runtime.devices })
