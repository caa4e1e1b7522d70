/** GET /api/v1/telemetry/{id}/latest: the newest value of every field. */
import type { Device } from '../../lib/devices/device.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import { visibleDevice } from '../../lib/devices/reader.ts'
import { AppError } from '../../lib/errors.ts'
import type { Gate } from '../../lib/http/auth.ts'
import { endpoint, reply } from '../../lib/http/endpoint.ts'
import { lambda } from '../../lib/http/lambda.ts'
import { idOf } from '../../lib/http/validate.ts'
import type { Log } from '../../lib/log.ts'
import * as runtime from '../../lib/runtime.ts'
import type { Telemetry } from '../../lib/telemetry/telemetry.ts'
import { formatTime } from '../../lib/telemetry/time.ts'

interface Deps {
  log: Log
  gate: Gate<Device>
  devices: Devices
  telemetry: Telemetry
}

export const latestTelemetry = ({ log, gate, devices, telemetry }: Deps) =>
  endpoint(log, 'GET /api/v1/telemetry/:id/latest', gate.read(), async (c, reader) => {
    const device = await visibleDevice(devices, reader, idOf(c))
    const latest = await telemetry.latest(device.id)
    if (latest === undefined) throw new AppError('NOT_FOUND', 'This device has no telemetry yet.')
    return reply(c, 200, {
      device_id: device.id,
      device_name: device.name,
      device_type: device.deviceType,
      latest_data: { timestamp: formatTime(latest.time), ...latest.fields },
    })
  })

export const handler = lambda(async () =>
  latestTelemetry({
    log: runtime.log(),
    gate: await runtime.gate(),
    devices: await runtime.devices(),
    telemetry: await runtime.telemetry(),
  }),
)
