/** GET /api/v1/admin/devices/{id}/config: the desired configuration, and the version that the device reports. */
import * as z from 'zod'
import { type ConfigurationStore, configurationView } from '../../lib/configuration/configurations.ts'
import * as configurationResponses from '../../lib/configuration/responses.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, ifNoneMatch, json, notModified, typedBy } from '../../lib/http/route.ts'
import { idOf } from '../../lib/http/validate.ts'
import { entityTag, isUnchanged } from '../../lib/http/versions.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

export const documentation = () =>
  describeRoute({
    summary: 'Reads the desired configuration of a device, beside the version it reports',
    otherParameters: ifNoneMatch,
    responses: {
      200: json(
        'The configuration.',
        z.strictObject({
          status: fields.success,
          device_id: fields.deviceId,
          ...configurationResponses.configuration,
        }),
        'ETag',
      ),
      304: notModified,
    },
  })

export const route = defineRoute({
  addresses: ['GET /api/v1/admin/devices/:id/config'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  devices: Devices
  configurations: Pick<ConfigurationStore, 'read'>
}

export const deviceConfiguration = ({ devices, configurations, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const { id } = await devices.get(idOf(c))
    const configuration = await configurations.read(id)
    c.get('headers').ETag = entityTag(configuration.version)
    if (isUnchanged(c, configuration.version)) return reply(c, 304)
    return reply(c, 200, { status: 'success', device_id: id, ...configurationView(configuration) })
  })

export const handler = serve(deviceConfiguration, {
  devices: runtime.devices,
  configurations: runtime.configurationStore,
})
