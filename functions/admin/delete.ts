/** DELETE /api/v1/admin/devices/{id}: the device goes, with its sessions and retained messages, and if asked its telemetry. */
import * as z from 'zod'
import type { Configurations } from '../../lib/commands/configuration.ts'
import type { Sessions } from '../../lib/commands/sessions.ts'
import type { Device } from '../../lib/devices/device.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import type { Gate } from '../../lib/http/auth.ts'
import { endpoint, reply } from '../../lib/http/endpoint.ts'
import { lambda } from '../../lib/http/lambda.ts'
import { idOf, queryOf } from '../../lib/http/validate.ts'
import type { Log } from '../../lib/log.ts'
import { given } from '../../lib/parameters.ts'
import * as runtime from '../../lib/runtime.ts'
import { allTime } from '../../lib/telemetry/query.ts'
import type { Telemetry } from '../../lib/telemetry/telemetry.ts'

export const Parameters = z.object({
  telemetry: given(z.enum(['true', 'false'], 'must be true or false')),
})

interface Deps {
  log: Log
  gate: Gate<Device>
  devices: Devices
  configurations: Pick<Configurations, 'clear'>
  sessions: Sessions
  telemetry: Pick<Telemetry, 'remove' | 'dropSpooled'>
}

export const deleteDevice = ({ log, gate, devices, configurations, sessions, telemetry }: Deps) =>
  endpoint(log, 'DELETE /api/v1/admin/devices/:id', gate.admin(), async (c) => {
    const id = idOf(c)
    const withTelemetry = queryOf(c, Parameters).telemetry === 'true'
    // No key lets the device in again while its sessions end: those are known only as long as the device is.
    await devices.revokeKeys(id)
    const sessionsEnded = await sessions.end(id)
    const device = await devices.delete(id)
    await configurations.clear(id).catch((error: unknown) => {
      log.warn('retained messages could not be cleared', { device_id: id, error })
    })
    if (withTelemetry) await telemetry.remove(id, allTime)
    else await telemetry.dropSpooled(id)
    return reply(c, 200, {
      status: 'success',
      message: 'Device deleted successfully',
      device_id: id,
      device_name: device.name,
      telemetry_deleted: withTelemetry,
      sessions_ended: sessionsEnded,
    })
  })

export const handler = lambda(async () =>
  deleteDevice({
    log: runtime.log(),
    gate: await runtime.gate(),
    devices: await runtime.devices(),
    configurations: await runtime.configurations(),
    sessions: await runtime.sessions(),
    telemetry: await runtime.telemetry(),
  }),
)
