/** GET /api/v1/admin/devices/{id}/events: what happened to a device, newest first, with why. */
import * as z from 'zod'
import type { Device } from '../../lib/devices/device.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import type { Gate } from '../../lib/http/auth.ts'
import { endpoint, reply } from '../../lib/http/endpoint.ts'
import { lambda } from '../../lib/http/lambda.ts'
import { idOf, queryOf } from '../../lib/http/validate.ts'
import type { Log } from '../../lib/log.ts'
import { given, pageCursor, pageLimit } from '../../lib/parameters.ts'
import * as runtime from '../../lib/runtime.ts'
import { formatMillis } from '../../lib/telemetry/time.ts'

export const Parameters = z.object({
  limit: given(pageLimit(1000)),
  cursor: given(pageCursor),
})

export const deviceEvents = ({ log, gate, devices }: { log: Log; gate: Gate<Device>; devices: Devices }) =>
  endpoint(log, 'GET /api/v1/admin/devices/:id/events', gate.admin(), async (c) => {
    const { id } = await devices.get(idOf(c))
    const { limit = 100, cursor } = queryOf(c, Parameters)
    const found = await devices.events(id, { limit: limit + 1, before: cursor })
    const page = found.slice(0, limit)
    return reply(c, 200, {
      status: 'success',
      device_id: id,
      events: page.map(({ kind, detail, at }) => ({ event: kind, timestamp: formatMillis(at), detail })),
      ...(found.length > limit ? { next_cursor: String(page.at(-1)?.id) } : {}),
    })
  })

export const handler = lambda(async () =>
  deviceEvents({ log: runtime.log(), gate: await runtime.gate(), devices: await runtime.devices() }),
)
