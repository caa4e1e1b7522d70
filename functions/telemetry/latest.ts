/** GET /api/v1/telemetry/{id}/latest: the newest value of every field. */
import * as z from 'zod'
import type { Devices } from '../../lib/devices/devices.ts'
import { visibleDevice } from '../../lib/devices/reader.ts'
import * as deviceResponses from '../../lib/devices/responses.ts'
import { AppError } from '../../lib/errors.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { idOf } from '../../lib/http/validate.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'
import * as telemetryResponses from '../../lib/telemetry/responses.ts'
import type { TelemetryReader } from '../../lib/telemetry/telemetry-reader.ts'
import { formatTime } from '../../lib/telemetry/time.ts'

export const documentation = () =>
  describeRoute({
    summary: 'Reads the newest value of every field of a device',
    responses: {
      200: json(
        'The values, 1,000 fields at most, with the time of the newest of them.',
        z.strictObject({
          ...deviceResponses.ofDevice,
          latest_data: z.strictObject({ timestamp: fields.time }).catchall(telemetryResponses.fieldValue),
        }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['GET /api/v1/telemetry/:id/latest'],
  access: 'read',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  devices: Devices
  telemetry: TelemetryReader
}

export const latestTelemetry = ({ devices, telemetry, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply, reader) => {
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

export const handler = serve(latestTelemetry, {
  devices: runtime.devices,
  telemetry: runtime.telemetryReader,
})
