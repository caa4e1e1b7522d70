/** GET /api/v1/devices/status: what the layer knows of the device that asks. */
import { type Device, deviceDetails } from '../../lib/devices/device.ts'
import type { Gate } from '../../lib/http/auth.ts'
import { endpoint, reply } from '../../lib/http/endpoint.ts'
import { lambda } from '../../lib/http/lambda.ts'
import type { Log } from '../../lib/log.ts'
import * as runtime from '../../lib/runtime.ts'
import type { Telemetry } from '../../lib/telemetry/telemetry.ts'

export const deviceStatus = ({
  log,
  gate,
  telemetry,
}: {
  log: Log
  gate: Gate<Device>
  telemetry: Telemetry
}) =>
  endpoint(log, 'GET /api/v1/devices/status', gate.device('requests'), async (c, device) => {
    return reply(c, 200, {
      status: 'success',
      device: { ...deviceDetails(device, Date.now()), telemetry_count: await telemetry.count(device.id) },
    })
  })

export const handler = lambda(async () =>
  deviceStatus({ log: runtime.log(), gate: await runtime.gate(), telemetry: await runtime.telemetry() }),
)
