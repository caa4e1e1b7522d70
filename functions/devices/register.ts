/** POST /api/v1/devices/register: a new device and its first API key, shown here only. */
import * as z from 'zod'
import { type Device, deviceView } from '../../lib/devices/device.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import type { Gate } from '../../lib/http/auth.ts'
import { endpoint, reply } from '../../lib/http/endpoint.ts'
import { lambda } from '../../lib/http/lambda.ts'
import { jsonBody } from '../../lib/http/validate.ts'
import type { Log } from '../../lib/log.ts'
import * as runtime from '../../lib/runtime.ts'

/** One line of text: no control characters, no blanks around it. */
const line = (max: number) =>
  z
    .string()
    .trim()
    .max(max, `must have at most ${max} characters`)
    .regex(/^[^\p{Cc}\p{Cs}\u2028\u2029]*$/u, 'must not hold control characters')

const optional = (max: number) => line(max).nullish()

const Body = z.object(
  {
    name: line(128).min(1, 'must not be empty'),
    device_type: line(64).min(1, 'must not be empty'),
    description: z.string().max(1024, 'must have at most 1024 characters').nullish(),
    location: optional(256),
    firmware_version: optional(64),
    hardware_version: optional(64),
  },
  'must be a JSON object',
)

export const registerDevice = ({ log, gate, devices }: { log: Log; gate: Gate<Device>; devices: Devices }) =>
  endpoint(log).post('/api/v1/devices/register', gate.enrol(), async (c) => {
    const body = await jsonBody(c, Body)
    const { device, apiKey } = await devices.register({
      name: body.name,
      deviceType: body.device_type,
      description: body.description,
      location: body.location,
      firmwareVersion: body.firmware_version,
      hardwareVersion: body.hardware_version,
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
