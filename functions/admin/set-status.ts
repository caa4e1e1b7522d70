/** PUT /api/v1/admin/devices/{id}/status: lets a device work, takes it into maintenance, or shuts it out. */
import * as z from 'zod'
import type { Sessions } from '../../lib/commands/sessions.ts'
import type { Device } from '../../lib/devices/device.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import { deviceStatus, notAnObject } from '../../lib/devices/fields.ts'
import type { Gate } from '../../lib/http/auth.ts'
import { endpoint, reply } from '../../lib/http/endpoint.ts'
import { lambda } from '../../lib/http/lambda.ts'
import { idOf, jsonBody } from '../../lib/http/validate.ts'
import type { Log } from '../../lib/log.ts'
import * as runtime from '../../lib/runtime.ts'

export const Body = z.object({ status: deviceStatus }, notAnObject)

interface Deps {
  log: Log
  gate: Gate<Device>
  devices: Devices
  sessions: Sessions
}

export const setDeviceStatus = ({ log, gate, devices, sessions }: Deps) =>
  endpoint(log, 'PUT /api/v1/admin/devices/:id/status', gate.admin(), async (c) => {
    const id = idOf(c)
    const { status } = await jsonBody(c, Body)
    const { before } = await devices.update(id, { status }, 'admin')
    const sessionsEnded = status === 'inactive' ? await sessions.end(id) : 0
    return reply(c, 200, {
      status: 'success',
      message: 'Device status updated successfully',
      device_id: id,
      old_status: before.status,
      new_status: status,
      sessions_ended: sessionsEnded,
    })
  })

export const handler = lambda(async () =>
  setDeviceStatus({
    log: runtime.log(),
    gate: await runtime.gate(),
    devices: await runtime.devices(),
    sessions: await runtime.sessions(),
  }),
)
