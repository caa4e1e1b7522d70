/** GET /api/v1/admin/fleet/config/{id}: how far a change of the configuration of many devices has come. */
import * as z from 'zod'
import {
  type FleetConfigurationReader,
  fleetConfigurationView,
} from '../../lib/configuration/fleet-configuration-reader.ts'
import * as configurationResponses from '../../lib/configuration/responses.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { idOf } from '../../lib/http/validate.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

export const documentation = () =>
  describeRoute({
    summary: 'Shows how far a change of many configurations has come',
    responses: {
      200: json(
        'How far it has come.',
        z.strictObject({ status: fields.success, ...configurationResponses.fleetConfiguration.shape }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['GET /api/v1/admin/fleet/config/:id'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  fleetConfigurations: Pick<FleetConfigurationReader, 'get'>
}

export const showFleetConfiguration = ({ fleetConfigurations, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) =>
    reply(c, 200, {
      status: 'success',
      ...fleetConfigurationView(await fleetConfigurations.get(idOf(c, 'change of the fleet'))),
    }),
  )

export const handler = serve(showFleetConfiguration, {
  fleetConfigurations: runtime.fleetConfigurationReader,
})
