/** POST /api/v1/devices/heartbeat: a sign of life; a body is not needed and not read. */
import type { Device } from '../../lib/devices/device.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import type { Gate } from '../../lib/http/auth.ts'
import { endpoint, reply } from '../../lib/http/endpoint.ts'
import { lambda } from '../../lib/http/lambda.ts'
import type { Log } from '../../lib/log.ts'
import * as runtime from '../../lib/runtime.ts'
import { formatMillis } from '../../lib/telemetry/time.ts'

export const sendHeartbeat = ({ log, gate, devices }: { log: Log; gate: Gate<Device>; devices: Devices }) =>
  endpoint(log, 'POST /api/v1/devices/heartbeat', gate.device('requests'), (c, { id }) => {
    devices.seen(id)
    return reply(c, 200, {
      message: 'Heartbeat received',
      device_id: id,
      timestamp: formatMillis(Date.now()),
      status: 'online',
    })
  })

export const handler = lambda(async () =>
  sendHeartbeat({ log: runtime.log(), gate: await runtime.gate(), devices: await runtime.devices() }),
)
