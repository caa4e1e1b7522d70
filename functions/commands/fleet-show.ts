/** GET /api/v1/admin/fleet/commands/{fleet_command_id}: one fleet command with its progress, and the commands of its devices. */
import * as z from 'zod'
import { commandView } from '../../lib/commands/command.ts'
import { fleetCommandView } from '../../lib/commands/fleet-command.ts'
import type { FleetCommands } from '../../lib/commands/fleet-commands.ts'
import { fleetCommandIdParameter, shownFleetCommand } from '../../lib/commands/fleet-fields.ts'
import { withinPage } from '../../lib/commands/page.ts'
import * as commandResponses from '../../lib/commands/responses.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { queryOf } from '../../lib/http/validate.ts'
import { optionalParameter, pageCursor, pageLimit } from '../../lib/parameters.ts'
import { commandStates } from '../../lib/registry/schema.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

const Query = z.object({
  status: optionalParameter(z.enum(commandStates, `must be one of ${commandStates.join(', ')}`)),
  limit: optionalParameter(pageLimit(1000)),
  cursor: optionalParameter(pageCursor),
})

export const documentation = () =>
  describeRoute({
    summary: 'Shows a fleet command with its progress',
    pathParameters: fleetCommandIdParameter,
    description: 'A page ends at 4 MB.',
    query: Query,
    exampleQuery: { status: 'failed', limit: 100 },
    fieldDescriptions: { status: 'Only commands in this state; the progress counts all.' },
    responses: {
      200: json(
        'Devices that had no turn yet have no command yet.',
        z.strictObject({
          status: fields.success,
          fleet_command: shownFleetCommand,
          commands: z.array(commandResponses.command).describe('In the order of the devices.'),
          next_cursor: fields.nextCursor,
        }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['GET /api/v1/admin/fleet/commands/:fleet_command_id'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  fleetCommands: Pick<FleetCommands, 'get' | 'commandsOf'>
}

export const showFleetCommand = ({ fleetCommands, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const { status, limit = 100, cursor } = queryOf(c, Query)
    const fleet = await fleetCommands.get(c.req.param('fleet_command_id') ?? '')
    const found = await fleetCommands.commandsOf(fleet.fleetCommandId, {
      status,
      limit: limit + 1,
      after: cursor,
    })
    const page = withinPage(found.slice(0, limit).map(commandView))
    return reply(c, 200, {
      status: 'success',
      fleet_command: fleetCommandView(fleet),
      commands: page,
      ...(found.length > page.length ? { next_cursor: String(page.at(-1)?.device_id) } : {}),
    })
  })

export const handler = serve(showFleetCommand, { fleetCommands: runtime.fleetCommandReader })
