/** DELETE /api/v1/telemetry/{id}: deletes the readings of a range; both of its ends have to be named. */
import type { Device } from '../../lib/devices/device.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import type { Gate } from '../../lib/http/auth.ts'
import { endpoint, reply } from '../../lib/http/endpoint.ts'
import { lambda } from '../../lib/http/lambda.ts'
import { bodyOrQuery, idOf } from '../../lib/http/validate.ts'
import type { Log } from '../../lib/log.ts'
import * as runtime from '../../lib/runtime.ts'
import { RemovalRange } from '../../lib/telemetry/query.ts'
import type { Telemetry } from '../../lib/telemetry/telemetry.ts'
import { formatTime } from '../../lib/telemetry/time.ts'

interface Deps {
  log: Log
  gate: Gate<Device>
  devices: Pick<Devices, 'get'>
  telemetry: Pick<Telemetry, 'remove'>
}

export const removeTelemetry = ({ log, gate, devices, telemetry }: Deps) =>
  endpoint(log, 'DELETE /api/v1/telemetry/:id', gate.admin(), async (c) => {
    const { id } = await devices.get(idOf(c))
    const { start_time: from, stop_time: to } = await bodyOrQuery(c, RemovalRange)
    await telemetry.remove(id, { from, to })
    return reply(c, 200, {
      message: 'Telemetry deleted successfully',
      device_id: id,
      start_time: formatTime(from),
      stop_time: formatTime(to),
    })
  })

export const handler = lambda(async () =>
  removeTelemetry({
    log: runtime.log(),
    gate: await runtime.gate(),
    devices: await runtime.devices(),
    telemetry: await runtime.telemetry(),
  }),
)
