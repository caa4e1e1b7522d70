/** POST /api/v1/devices/register: a new device and its first API key, shown here only. */
import * as z from 'zod'
import { type Device, deviceView } from '../../lib/devices/device.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import { description, identity, notAnObject, toDescription } from '../../lib/devices/fields.ts'
import type { Gate } from '../../lib/http/auth.ts'
import { endpoint, reply } from '../../lib/http/endpoint.ts'
import { lambda } from '../../lib/http/lambda.ts'
import { jsonBody } from '../../lib/http/validate.ts'
import type { Log } from '../../lib/log.ts'
import * as runtime from '../../lib/runtime.ts'

export const Body = z.object({ ...identity, ...description }, notAnObject)

export const registerDevice = ({ log, gate, devices }: { log: Log; gate: Gate<Device>; devices: Devices }) =>
  endpoint(log, 'POST /api/v1/devices/register', gate.enrol(), async (c) => {
    const body = await jsonBody(c, Body)
    const { device, apiKey } = await devices.register({
      name: body.name,
      deviceType: body.device_type,
      ...toDescription(body),
    })
    const { id, name, ...rest } = deviceView(device)
    return reply(c, 201, {
      message: 'Device registered successfully',
      device: { id, name, api_key: apiKey, ...rest },
    })
  })

export const handler = lambda(async () =>
  registerDevice({ log: runtime.log(), gate: await runtime.gate(), devices: await runtime.devices() }),
)
