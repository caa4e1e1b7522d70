/** POST /api/v1/admin/devices/{id}/revoke-key: ends all keys of a device, or those with the prefix that is named. */
import * as z from 'zod'
import type { Sessions } from '../../lib/commands/sessions.ts'
import { prefixLength } from '../../lib/devices/credentials.ts'
import type { Device } from '../../lib/devices/device.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import { notAnObject } from '../../lib/devices/fields.ts'
import { AppError } from '../../lib/errors.ts'
import type { Gate } from '../../lib/http/auth.ts'
import { endpoint, reply } from '../../lib/http/endpoint.ts'
import { lambda } from '../../lib/http/lambda.ts'
import { idOf, optionalBody } from '../../lib/http/validate.ts'
import type { Log } from '../../lib/log.ts'
import * as runtime from '../../lib/runtime.ts'

export const Body = z.object(
  {
    key_prefix: z
      .string()
      .regex(
        new RegExp(`^[A-Za-z0-9]{${prefixLength}}$`),
        `must be the first ${prefixLength} characters of a key`,
      )
      .optional(),
  },
  notAnObject,
)

interface Deps {
  log: Log
  gate: Gate<Device>
  devices: Devices
  sessions: Sessions
}

export const revokeDeviceKey = ({ log, gate, devices, sessions }: Deps) =>
  endpoint(log, 'POST /api/v1/admin/devices/:id/revoke-key', gate.admin(), async (c) => {
    const id = idOf(c)
    const { key_prefix: prefix } = await optionalBody(c, Body)
    const revoked = await devices.revokeKeys(id, prefix)
    if (revoked === 0 && prefix !== undefined) {
      throw new AppError('NOT_FOUND', 'The device has no live key with this prefix.')
    }
    // Which key a connection used is not known: a device whose other key is still valid connects again.
    const sessionsEnded = await sessions.end(id)
    return reply(c, 200, {
      status: 'success',
      message: 'API key revoked successfully',
      device_id: id,
      revoked_keys: revoked,
      sessions_ended: sessionsEnded,
    })
  })

export const handler = lambda(async () =>
  revokeDeviceKey({
    log: runtime.log(),
    gate: await runtime.gate(),
    devices: await runtime.devices(),
    sessions: await runtime.sessions(),
  }),
)
