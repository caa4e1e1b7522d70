/** POST /api/v1/admin/devices/{id}/rotate-key: a new key for a device, shown here only; its newest key stays for a while. */
import * as z from 'zod'
import type { Sessions } from '../../lib/commands/sessions.ts'
import type { Device } from '../../lib/devices/device.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import { grace, notAnObject } from '../../lib/devices/fields.ts'
import type { Gate } from '../../lib/http/auth.ts'
import { endpoint, reply } from '../../lib/http/endpoint.ts'
import { lambda } from '../../lib/http/lambda.ts'
import { idOf, optionalBody } from '../../lib/http/validate.ts'
import type { Log } from '../../lib/log.ts'
import * as runtime from '../../lib/runtime.ts'
import { formatMillis } from '../../lib/telemetry/time.ts'

export const Body = z.object({ grace_s: grace }, notAnObject)

interface Deps {
  log: Log
  gate: Gate<Device>
  devices: Devices
  sessions: Sessions
}

export const rotateDeviceKey = ({ log, gate, devices, sessions }: Deps) =>
  endpoint(log, 'POST /api/v1/admin/devices/:id/rotate-key', gate.admin(), async (c) => {
    const id = idOf(c)
    const { grace_s: graceS } = await optionalBody(c, Body)
    const { apiKey, previousKeyExpiresAt, ended } = await devices.rotateKey(id, { graceS, by: 'admin' })
    if (ended) await sessions.end(id)
    return reply(c, 200, {
      status: 'success',
      message: 'API key rotated successfully',
      device_id: id,
      api_key: apiKey,
      previous_key_expires_at: previousKeyExpiresAt === null ? null : formatMillis(previousKeyExpiresAt),
    })
  })

export const handler = lambda(async () =>
  rotateDeviceKey({
    log: runtime.log(),
    gate: await runtime.gate(),
    devices: await runtime.devices(),
    sessions: await runtime.sessions(),
  }),
)
