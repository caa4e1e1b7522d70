/** PUT /api/v1/admin/devices/{id}/config: changes several keys of the desired configuration at once; null deletes a key. */

import * as z from 'zod'
import { type Configurations, changesOf, configurationView } from '../../lib/configuration/configurations.ts'
import { configurationChanges } from '../../lib/configuration/fields.ts'
import * as configurationResponses from '../../lib/configuration/responses.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import { notAnObject } from '../../lib/devices/fields.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { idOf, jsonBody } from '../../lib/http/validate.ts'
import { entityTag, expectedVersion } from '../../lib/http/versions.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

const Body = z.object({ configuration: configurationChanges }, notAnObject)

export const documentation = () =>
  describeRoute({
    summary: 'Changes the desired configuration of a device',
    description: 'Changes all named keys at once; null deletes a key. A device has at most 128 keys.',
    otherParameters: {
      'If-Match': {
        in: 'header',
        description: 'The `ETag` the change was made from: 412 when the configuration has changed since.',
        schema: { type: 'string', pattern: '^(?:\\*|"?[0-9]{1,15}"?)$' },
      },
    },
    body: {
      schema: Body,
      required: true,
      examples: { interval: { configuration: { sampling_interval: 30, led: 'off', threshold: null } } },
    },
    responses: {
      200: json(
        'The configuration as it is now.',
        z.strictObject({
          status: fields.success,
          message: z.string(),
          device_id: fields.deviceId,
          ...configurationResponses.configuration,
          published: z.boolean().describe('False when the broker has not taken it.'),
        }),
        'ETag',
      ),
    },
    errors: [412],
  })

export const route = defineRoute({
  addresses: ['PUT /api/v1/admin/devices/:id/config'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  devices: Devices
  configurations: Pick<Configurations, 'change'>
}

export const configureDevice = ({ devices, configurations, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const { id } = await devices.get(idOf(c))
    const ifVersion = expectedVersion(c)
    const { configuration } = await jsonBody(c, Body)
    const changed = await configurations.change(id, changesOf(configuration), { by: 'admin', ifVersion })
    c.get('headers').ETag = entityTag(changed.version)
    return reply(c, 200, {
      status: 'success',
      message: 'Configuration updated successfully',
      device_id: id,
      ...configurationView(changed),
      published: changed.published,
    })
  })

export const handler = serve(configureDevice, {
  devices: runtime.devices,
  configurations: runtime.configurations,
})
