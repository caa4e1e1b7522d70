/** GET /api/v1/telemetry/{id}/aggregated: one value per window of time, newest first. */
import type { Device } from '../../lib/devices/device.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import { visibleDevice } from '../../lib/devices/reader.ts'
import type { Gate } from '../../lib/http/auth.ts'
import { endpoint, reply } from '../../lib/http/endpoint.ts'
import { lambda } from '../../lib/http/lambda.ts'
import { idOf, queryOf } from '../../lib/http/validate.ts'
import type { Log } from '../../lib/log.ts'
import * as runtime from '../../lib/runtime.ts'
import { AggregateParameters, nowNs, presentEnd } from '../../lib/telemetry/query.ts'
import type { Telemetry } from '../../lib/telemetry/telemetry.ts'
import { formatTime } from '../../lib/telemetry/time.ts'

interface Deps {
  log: Log
  gate: Gate<Device>
  devices: Devices
  telemetry: Telemetry
}

const hourNs = 3_600_000_000_000n

export const aggregatedTelemetry = ({ log, gate, devices, telemetry }: Deps) =>
  endpoint(log, 'GET /api/v1/telemetry/:id/aggregated', gate.read(), async (c, reader) => {
    const device = await visibleDevice(devices, reader, idOf(c))
    const asked = queryOf(c, AggregateParameters)
    const field = asked.field ?? 'temperature'
    const aggregation = asked.aggregation ?? 'mean'
    const from = asked.start_time ?? nowNs() - 24n * hourNs
    const windows = await telemetry.aggregate({
      deviceId: device.id,
      field: field === '*' ? undefined : field,
      aggregation,
      window: asked.window ?? hourNs,
      from,
      to: asked.end_time ?? presentEnd(),
    })
    return reply(c, 200, {
      device_id: device.id,
      device_name: device.name,
      device_type: device.deviceType,
      field,
      aggregation,
      window: c.req.query('window') || '1h',
      start_time: formatTime(from),
      data: windows.map(({ time, values }) => ({
        timestamp: formatTime(time),
        ...(field === '*' ? values : { value: values[field] }),
      })),
      count: windows.length,
    })
  })

export const handler = lambda(async () =>
  aggregatedTelemetry({
    log: runtime.log(),
    gate: await runtime.gate(),
    devices: await runtime.devices(),
    telemetry: await runtime.telemetry(),
  }),
)
