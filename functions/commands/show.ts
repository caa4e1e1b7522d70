/** GET /api/v1/admin/devices/{id}/commands/{command_id}: one command, with what became of it. */

import * as z from 'zod'
import { commandView } from '../../lib/commands/command.ts'
import type { Commands } from '../../lib/commands/commands.ts'
import * as commandResponses from '../../lib/commands/responses.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { idOf } from '../../lib/http/validate.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

export const documentation = () =>
  describeRoute({
    summary: 'Shows a command of a device',
    pathParameters: commandResponses.commandIdParameter,
    responses: {
      200: json(
        'The command as it is now.',
        z.strictObject({ status: fields.success, command: commandResponses.command }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['GET /api/v1/admin/devices/:id/commands/:command_id'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  commands: Pick<Commands, 'get'>
}

export const showCommand = ({ commands, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const command = await commands.get(idOf(c), c.req.param('command_id') ?? '')
    return reply(c, 200, { status: 'success', command: commandView(command) })
  })

export const handler = serve(showCommand, { commands: runtime.commandStore })
