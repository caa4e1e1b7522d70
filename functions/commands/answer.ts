/** POST /api/v1/devices/commands/{command_id}: the answer of the calling device to one of its commands. */

import * as z from 'zod'
import { commandView, maxResultBytes } from '../../lib/commands/command.ts'
import type { Commands } from '../../lib/commands/commands.ts'
import { answerState } from '../../lib/commands/fields.ts'
import * as commandResponses from '../../lib/commands/responses.ts'
import { notAnObject } from '../../lib/devices/fields.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { jsonBody } from '../../lib/http/validate.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { webhookWaker } from '../../lib/runtime-webhooks.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'
import type { Waker } from '../../lib/webhooks/waker.ts'

const Body = z.object(
  { status: answerState, result: z.json('must be a value of JSON').optional() },
  notAnObject,
)

export const documentation = () =>
  describeRoute({
    summary: 'Answers a command',
    pathParameters: commandResponses.commandIdParameter,
    description:
      'May be sent again: an answer that is late, double or out of order changes nothing, and is answered like any other.',
    body: {
      schema: Body,
      required: true,
      examples: { succeeded: { status: 'succeeded', result: { restarted_in_s: 4 } } },
    },
    fieldDescriptions: {
      status: '`acknowledged`: it has the command. `succeeded` and `failed` end it.',
      result: `Any value of JSON; above ${maxResultBytes} bytes it is left out.`,
    },
    responses: {
      200: json(
        'The command as it is now.',
        z.strictObject({
          status: fields.success,
          recorded: z.boolean().describe('False when the command had got this far already, or had ended.'),
          command: commandResponses.command,
        }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['POST /api/v1/devices/commands/:command_id'],
  access: 'device',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  commands: Pick<Commands, 'answer' | 'get'>
  /** Undefined where webhooks are told without it. */
  waker?: Waker | undefined
}

export const answerCommand = ({ commands, waker, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply, { id: deviceId }) => {
    const commandId = c.req.param('command_id') ?? ''
    const { status, result } = await jsonBody(c, Body)
    const outcome = await commands.answer({ deviceId, commandId, status, result, at: Date.now() })
    if (outcome === 'applied') await waker?.wake()
    const command = await commands.get(deviceId, commandId)
    return reply(c, 200, {
      status: 'success',
      recorded: outcome === 'applied',
      command: commandView(command),
    })
  })

export const handler = serve(answerCommand, { commands: runtime.commandDesk, waker: webhookWaker })
