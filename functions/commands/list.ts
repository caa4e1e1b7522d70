/** GET /api/v1/admin/devices/{id}/commands: the commands of a device, newest first, with what became of them. */

import * as z from 'zod'
import { commandView } from '../../lib/commands/command.ts'
import type { Commands } from '../../lib/commands/commands.ts'
import { withinPage } from '../../lib/commands/page.ts'
import * as commandResponses from '../../lib/commands/responses.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { idOf, queryOf } from '../../lib/http/validate.ts'
import { optionalParameter, pageCursor, pageLimit } from '../../lib/parameters.ts'
import { commandStates } from '../../lib/registry/schema.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

const Query = z.object({
  status: optionalParameter(z.enum(commandStates, `must be one of ${commandStates.join(', ')}`)),
  limit: optionalParameter(pageLimit(100)),
  cursor: optionalParameter(pageCursor),
})

export const documentation = () =>
  describeRoute({
    summary: 'Lists the commands of a device',
    description: 'Those that have ended stay for 30 days. A page ends at 4 MB.',
    query: Query,
    exampleQuery: { limit: 20 },
    fieldDescriptions: { status: 'Only those in this state.' },
    responses: {
      200: json(
        'Newest first.',
        z.strictObject({
          status: fields.success,
          device_id: fields.deviceId,
          commands: z.array(commandResponses.command),
          next_cursor: fields.nextCursor,
        }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['GET /api/v1/admin/devices/:id/commands'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  devices: Pick<Devices, 'get'>
  commands: Pick<Commands, 'list'>
}

export const listCommands = ({ devices, commands, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const { id } = await devices.get(idOf(c))
    const { status, limit = 50, cursor } = queryOf(c, Query)
    const found = await commands.list(id, { status, limit: limit + 1, before: cursor })
    const page = withinPage(found.slice(0, limit).map(commandView))
    return reply(c, 200, {
      status: 'success',
      device_id: id,
      commands: page,
      ...(found.length > page.length ? { next_cursor: String(found[page.length - 1]?.id) } : {}),
    })
  })

export const handler = serve(listCommands, { devices: runtime.devices, commands: runtime.commandStore })
