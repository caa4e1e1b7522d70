/** GET /api/v1/admin/devices: the devices there are, page by page. */
import * as z from 'zod'
import { type Device, deviceView, isOnline } from '../../lib/devices/device.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import { deviceStatus } from '../../lib/devices/fields.ts'
import type { Gate } from '../../lib/http/auth.ts'
import { endpoint, reply } from '../../lib/http/endpoint.ts'
import { lambda } from '../../lib/http/lambda.ts'
import { queryOf } from '../../lib/http/validate.ts'
import type { Log } from '../../lib/log.ts'
import { given, pageCursor, pageLimit } from '../../lib/parameters.ts'
import * as runtime from '../../lib/runtime.ts'

export const Parameters = z.object({
  status: given(deviceStatus),
  device_type: given(z.string().max(64)),
  q: given(z.string().max(128)),
  limit: given(pageLimit(1000)),
  cursor: given(pageCursor),
})

export const listDevices = ({ log, gate, devices }: { log: Log; gate: Gate<Device>; devices: Devices }) =>
  endpoint(log, 'GET /api/v1/admin/devices', gate.admin(), async (c) => {
    const { status, device_type: deviceType, q, limit = 100, cursor } = queryOf(c, Parameters)
    // One more than asked tells whether there is a next page.
    const found = await devices.list({ status, deviceType, q, limit: limit + 1, after: cursor })
    const page = found.devices.slice(0, limit)
    const now = Date.now()
    return reply(c, 200, {
      status: 'success',
      total_devices: found.total,
      devices: page.map((device) => ({ ...deviceView(device), is_online: isOnline(device, now) })),
      ...(found.devices.length > limit ? { next_cursor: String(page.at(-1)?.id) } : {}),
    })
  })

export const handler = lambda(async () =>
  listDevices({ log: runtime.log(), gate: await runtime.gate(), devices: await runtime.devices() }),
)
