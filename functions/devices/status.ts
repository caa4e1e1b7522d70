/** GET /api/v1/devices/status: the registered fields and the reading count of the calling device. */
import * as z from 'zod'
import { deviceDetails } from '../../lib/devices/device.ts'
import * as deviceResponses from '../../lib/devices/responses.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'
import type { TelemetryReader } from '../../lib/telemetry/telemetry-reader.ts'

export const documentation = () =>
  describeRoute({
    summary: 'Shows the device itself',
    responses: {
      200: json(
        'What is known of it.',
        z.strictObject({ status: fields.success, device: deviceResponses.countedDevice }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['GET /api/v1/devices/status'],
  access: 'device',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  telemetry: TelemetryReader
}

export const showOwnDevice = ({ telemetry, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply, device) => {
    return reply(c, 200, {
      status: 'success',
      device: { ...deviceDetails(device, Date.now()), telemetry_count: await telemetry.count(device.id) },
    })
  })

export const handler = serve(showOwnDevice, { telemetry: runtime.telemetryReader })
