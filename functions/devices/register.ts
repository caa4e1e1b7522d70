/** POST /api/v1/devices/register: registers a device and shows its first API key, here only. */

import * as z from 'zod'
import { deviceView } from '../../lib/devices/device.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import { description, identity, notAnObject, toDescription } from '../../lib/devices/fields.ts'
import { newLabels } from '../../lib/devices/labels.ts'
import * as deviceResponses from '../../lib/devices/responses.ts'
import { AppError } from '../../lib/errors.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { jsonBody } from '../../lib/http/validate.ts'
import * as runtime from '../../lib/runtime.ts'
import { webhookWaker } from '../../lib/runtime-webhooks.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'
import type { Waker } from '../../lib/webhooks/waker.ts'

const Body = z.object({ ...identity, ...description, labels: newLabels }, notAnObject)

export const documentation = () =>
  describeRoute({
    summary: 'Registers a device',
    description: 'Answers with the API key of the device: it is shown here and by a rotation only.',
    body: {
      schema: Body,
      required: true,
      examples: {
        sensor: { name: 'greenhouse-1', device_type: 'temperature_sensor', location: 'Greenhouse' },
        labelled: { name: 'greenhouse-3', device_type: 'temperature_sensor', labels: { site: 'north' } },
      },
    },
    fieldDescriptions: {
      name: 'Taken names are refused.',
      labels: 'What operators select devices by; afterwards only operators change them.',
    },
    responses: {
      201: json(
        'The device, with its key.',
        z.strictObject({ message: z.string(), device: deviceResponses.newDevice }),
      ),
    },
    errors: [409],
  })

export const route = defineRoute({
  addresses: ['POST /api/v1/devices/register'],
  access: 'enrol',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  devices: Devices
  /** Undefined where webhooks are told without it. */
  waker?: Waker | undefined
}

export const registerDevice = ({ devices, waker, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply, enrollment) => {
    const body = await jsonBody(c, Body)
    const { keyId: enrollmentKeyId, deviceType = null } = enrollment ?? {}
    if (deviceType !== null && body.device_type !== deviceType)
      throw new AppError('FORBIDDEN', `The enrolment key registers devices of the type ${deviceType} only.`)
    const { device, apiKey } = await devices.register({
      name: body.name,
      deviceType: body.device_type,
      labels: body.labels,
      enrollmentKeyId,
      ...toDescription(body),
    })
    await waker?.wake()
    const { id, name, ...rest } = deviceView(device)
    return reply(c, 201, {
      message: 'Device registered successfully',
      device: { id, name, api_key: apiKey, ...rest },
    })
  })

export const handler = serve(registerDevice, { devices: runtime.devices, waker: webhookWaker })
