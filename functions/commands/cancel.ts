/** DELETE /api/v1/admin/devices/{id}/commands/{command_id}: cancels a command that has not ended. */

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
    summary: 'Cancels a command',
    pathParameters: commandResponses.commandIdParameter,
    description:
      'It is not delivered any more. A device that has it already may carry it out all the same: its answer changes nothing. 409 when the command has ended otherwise.',
    responses: {
      200: json(
        'It is cancelled.',
        z.strictObject({ status: fields.success, message: z.string(), command: commandResponses.command }),
      ),
    },
    errors: [409],
  })

export const route = defineRoute({
  addresses: ['DELETE /api/v1/admin/devices/:id/commands/:command_id'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  commands: Pick<Commands, 'cancel'>
}

export const cancelCommand = ({ commands, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const command = await commands.cancel(idOf(c), c.req.param('command_id') ?? '')
    return reply(c, 200, {
      status: 'success',
      message: 'Command cancelled successfully',
      command: commandView(command),
    })
  })

export const handler = serve(cancelCommand, { commands: runtime.commandStore })
