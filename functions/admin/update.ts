/** PUT /api/v1/admin/devices/{id}: changes what is registered of a device. */
import * as z from 'zod'
import type { Sessions } from '../../lib/commands/sessions.ts'
import { type Device, deviceDetails } from '../../lib/devices/device.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import {
  description,
  deviceStatus,
  identity,
  notAnObject,
  offlineAfter,
  toDescription,
} from '../../lib/devices/fields.ts'
import type { Gate } from '../../lib/http/auth.ts'
import { endpoint, reply } from '../../lib/http/endpoint.ts'
import { lambda } from '../../lib/http/lambda.ts'
import { idOf, jsonBody } from '../../lib/http/validate.ts'
import type { Log } from '../../lib/log.ts'
import * as runtime from '../../lib/runtime.ts'

export const Body = z.object(
  {
    name: identity.name.optional(),
    device_type: identity.device_type.optional(),
    ...description,
    status: deviceStatus.optional(),
    offline_after_s: offlineAfter,
  },
  notAnObject,
)

interface Deps {
  log: Log
  gate: Gate<Device>
  devices: Devices
  sessions: Sessions
}

export const updateDevice = ({ log, gate, devices, sessions }: Deps) =>
  endpoint(log, 'PUT /api/v1/admin/devices/:id', gate.admin(), async (c) => {
    const id = idOf(c)
    const body = await jsonBody(c, Body)
    const change = {
      ...toDescription(body),
      name: body.name,
      deviceType: body.device_type,
      status: body.status,
      offlineAfterS: body.offline_after_s,
    }
    const { device } = await devices.update(id, change, 'admin')
    if (device.status === 'inactive') await sessions.end(id)
    return reply(c, 200, {
      status: 'success',
      message: 'Device updated successfully',
      device: deviceDetails(device, Date.now()),
    })
  })

export const handler = lambda(async () =>
  updateDevice({
    log: runtime.log(),
    gate: await runtime.gate(),
    devices: await runtime.devices(),
    sessions: await runtime.sessions(),
  }),
)
