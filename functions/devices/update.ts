/** PUT /api/v1/devices/config: the device says what it is. */
import * as z from 'zod'
import { type Device, deviceView } from '../../lib/devices/device.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import { description, notAnObject, toDescription } from '../../lib/devices/fields.ts'
import type { Gate } from '../../lib/http/auth.ts'
import { endpoint, reply } from '../../lib/http/endpoint.ts'
import { lambda } from '../../lib/http/lambda.ts'
import { jsonBody } from '../../lib/http/validate.ts'
import type { Log } from '../../lib/log.ts'
import * as runtime from '../../lib/runtime.ts'

export const Body = z.object(
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

export const updateOwnDevice = ({ log, gate, devices }: { log: Log; gate: Gate<Device>; devices: Devices }) =>
  endpoint(log, 'PUT /api/v1/devices/config', gate.device('requests'), async (c, { id }) => {
    const body = await jsonBody(c, Body)
    devices.seen(id)
    const { device } = await devices.update(id, { ...toDescription(body), status: body.status }, 'device')
    return reply(c, 200, { message: 'Device updated successfully', device: deviceView(device) })
  })

export const handler = lambda(async () =>
  updateOwnDevice({ log: runtime.log(), gate: await runtime.gate(), devices: await runtime.devices() }),
)
