/** POST /api/v1/devices/rotate-key: a new key for the device that asks; the key it used stays valid for a while. */
import * as z from 'zod'
import type { Sessions } from '../../lib/commands/sessions.ts'
import type { Device } from '../../lib/devices/device.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import { grace, notAnObject } from '../../lib/devices/fields.ts'
import type { Gate } from '../../lib/http/auth.ts'
import { endpoint, headerOf, reply } from '../../lib/http/endpoint.ts'
import { lambda } from '../../lib/http/lambda.ts'
import { optionalBody } from '../../lib/http/validate.ts'
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

export const rotateOwnKey = ({ log, gate, devices, sessions }: Deps) =>
  endpoint(log, 'POST /api/v1/devices/rotate-key', gate.device('requests'), async (c, { id }) => {
    const { grace_s: graceS } = await optionalBody(c, Body)
    const usedKey = headerOf(c, 'x-api-key') ?? ''
    const { apiKey, previousKeyExpiresAt, ended } = await devices.rotateKey(id, {
      graceS,
      usedKey,
      by: 'device',
    })
    // Which key a connection used is not known: the device connects again with the new one.
    if (ended) await sessions.end(id)
    return reply(c, 200, {
      message: 'API key rotated successfully',
      api_key: apiKey,
      previous_key_expires_at: previousKeyExpiresAt === null ? null : formatMillis(previousKeyExpiresAt),
    })
  })

export const handler = lambda(async () =>
  rotateOwnKey({
    log: runtime.log(),
    gate: await runtime.gate(),
    devices: await runtime.devices(),
    sessions: await runtime.sessions(),
  }),
)
