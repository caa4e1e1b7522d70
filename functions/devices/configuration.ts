/** GET /api/v1/devices/config: the desired configuration of the calling device. */
import * as z from 'zod'
import type { ConfigurationStore } from '../../lib/configuration/configurations.ts'
import * as configurationResponses from '../../lib/configuration/responses.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, ifNoneMatch, json, notModified, typedBy } from '../../lib/http/route.ts'
import { entityTag, isUnchanged } from '../../lib/http/versions.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

export const documentation = () =>
  describeRoute({
    summary: 'Reads the configuration that is desired of the device',
    description: 'A 304 also notes that the device runs the version of its `If-None-Match`.',
    otherParameters: ifNoneMatch,
    responses: {
      200: json(
        'The configuration.',
        z.strictObject({
          status: fields.success,
          device_id: fields.deviceId,
          version: configurationResponses.version,
          configuration: configurationResponses.entries,
        }),
        'ETag',
      ),
      304: notModified,
    },
  })

export const route = defineRoute({
  addresses: ['GET /api/v1/devices/config'],
  access: 'device',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  configurations: Pick<ConfigurationStore, 'read' | 'report'>
}

export const ownConfiguration = ({ configurations, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply, { id }) => {
    const { version, entries, reportedVersion } = await configurations.read(id)
    c.get('headers').ETag = entityTag(version)
    if (isUnchanged(c, version)) {
      // A device without MQTT has no other way to tell which version it runs.
      const isItsVersion = c.req.header('if-none-match') !== '*' && version !== reportedVersion
      if (isItsVersion) await configurations.report(id, version, Date.now())
      return reply(c, 304)
    }
    return reply(c, 200, { status: 'success', device_id: id, version, configuration: entries })
  })

export const handler = serve(ownConfiguration, { configurations: runtime.configurationStore })
