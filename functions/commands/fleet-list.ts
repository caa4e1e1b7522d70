/** GET /api/v1/admin/fleet/commands: fleet commands with their progress, newest first. */
import * as z from 'zod'
import { fleetCommandView } from '../../lib/commands/fleet-command.ts'
import type { FleetCommands } from '../../lib/commands/fleet-commands.ts'
import { shownFleetCommand } from '../../lib/commands/fleet-fields.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { queryOf } from '../../lib/http/validate.ts'
import { optionalParameter, pageCursor, pageLimit } from '../../lib/parameters.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

const Query = z.object({
  limit: optionalParameter(pageLimit(100)),
  cursor: optionalParameter(pageCursor),
})

export const documentation = () =>
  describeRoute({
    summary: 'Lists fleet commands with their progress',
    description: 'Those that have ended are kept for 30 days.',
    query: Query,
    exampleQuery: { limit: 20 },
    responses: {
      200: json(
        'Newest first.',
        z.strictObject({
          status: fields.success,
          fleet_commands: z.array(shownFleetCommand),
          next_cursor: fields.nextCursor,
        }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['GET /api/v1/admin/fleet/commands'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  fleetCommands: Pick<FleetCommands, 'list'>
}

export const listFleetCommands = ({ fleetCommands, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const { limit = 20, cursor } = queryOf(c, Query)
    const found = await fleetCommands.list({ limit: limit + 1, before: cursor })
    const page = found.slice(0, limit)
    return reply(c, 200, {
      status: 'success',
      fleet_commands: page.map(fleetCommandView),
      ...(found.length > limit ? { next_cursor: String(page.at(-1)?.id) } : {}),
    })
  })

export const handler = serve(listFleetCommands, { fleetCommands: runtime.fleetCommandReader })
