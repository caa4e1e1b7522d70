/** GET /api/v1/admin/fleet/config: the last changes of the configuration of many devices. */
import * as z from 'zod'
import {
  type FleetConfigurationReader,
  fleetConfigurationView,
} from '../../lib/configuration/fleet-configuration-reader.ts'
import * as configurationResponses from '../../lib/configuration/responses.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

export const documentation = () =>
  describeRoute({
    summary: 'Lists the last 100 changes of many configurations, newest first',
    responses: {
      200: json(
        'How far it has come.',
        z.strictObject({
          status: fields.success,
          fleet_configurations: z.array(configurationResponses.fleetConfiguration),
        }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['GET /api/v1/admin/fleet/config'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  fleetConfigurations: Pick<FleetConfigurationReader, 'list'>
}

export const listFleetConfigurations = ({ fleetConfigurations, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) =>
    reply(c, 200, {
      status: 'success',
      fleet_configurations: (await fleetConfigurations.list()).map(fleetConfigurationView),
    }),
  )

export const handler = serve(listFleetConfigurations, {
  fleetConfigurations: runtime.fleetConfigurationReader,
})
