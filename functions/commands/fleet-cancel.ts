/** DELETE /api/v1/admin/fleet/commands/{fleet_command_id}: no further device gets the command, and what is not finished is cancelled. */
import * as z from 'zod'
import { fleetCommandView } from '../../lib/commands/fleet-command.ts'
import type { FleetCommands } from '../../lib/commands/fleet-commands.ts'
import { fleetCommandIdParameter, shownFleetCommand } from '../../lib/commands/fleet-fields.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

export const documentation = () =>
  describeRoute({
    summary: 'Cancels a fleet command',
    pathParameters: fleetCommandIdParameter,
    description: 'Devices that have the command already may still run it; their answers change nothing.',
    responses: {
      200: json(
        'As it is now.',
        z.strictObject({ status: fields.success, message: z.string(), fleet_command: shownFleetCommand }),
      ),
    },
    errors: [409],
  })

export const route = defineRoute({
  addresses: ['DELETE /api/v1/admin/fleet/commands/:fleet_command_id'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  fleetCommands: Pick<FleetCommands, 'cancel'>
}

export const cancelFleetCommand = ({ fleetCommands, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const fleet = await fleetCommands.cancel(c.req.param('fleet_command_id') ?? '')
    return reply(c, 200, {
      status: 'success',
      message: 'Fleet command cancelled',
      fleet_command: fleetCommandView(fleet),
    })
  })

export const handler = serve(cancelFleetCommand, { fleetCommands: runtime.fleetCommands })
