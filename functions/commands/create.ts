/** POST /api/v1/admin/devices/{id}/commands: sends a command to a device, which gets it at once or when it connects. */

import * as z from 'zod'
import { channels, type NewCommand } from '../../lib/commands/command.ts'
import type { Commands } from '../../lib/commands/commands.ts'
import { newCommand, newCommandDescriptions } from '../../lib/commands/fields.ts'
import * as commandResponses from '../../lib/commands/responses.ts'
import { notAnObject } from '../../lib/devices/fields.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { idOf, jsonBody } from '../../lib/http/validate.ts'
import { formatMillis } from '../../lib/iso-time.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

const Body = z.object(
  {
    ...newCommand,
    command: z.union([newCommand.command, z.record(z.string(), z.json())], 'must be text or an object'),
    command_type: z.enum(channels, `must be one of ${channels.join(', ')}`).optional(),
  },
  notAnObject,
)

export const documentation = () =>
  describeRoute({
    summary: 'Sends a command to a device',
    description:
      'The device gets it over MQTT at once or when it has subscribed, or when it asks over HTTP. At most 100 commands of a device may be without an end: 409 above.',
    aliases: {
      'POST /api/v1/mqtt/device/:id/command': {
        operationId: 'commands-create-mqtt',
        description: 'The same under the name of the predecessor.',
      },
    },
    body: {
      schema: Body,
      required: true,
      examples: { restart: { command: 'restart', params: { delay_s: 5 }, ttl_s: 3600 } },
    },
    fieldDescriptions: {
      ...newCommandDescriptions,
      command: 'What the device is to do. The predecessor takes an object, too: it is sent as `params`.',
      command_type: 'The predecessor’s name of `channel`.',
    },
    responses: {
      202: json(
        'It is stored, and will be delivered.',
        z.strictObject({
          command_id: commandResponses.commandId,
          status: z.literal('queued'),
          device_id: fields.deviceId,
          issued_at: fields.time,
          expires_at: fields.time,
        }),
      ),
    },
    errors: [409],
  })

export const route = defineRoute({
  addresses: ['POST /api/v1/admin/devices/:id/commands', 'POST /api/v1/mqtt/device/:id/command'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  commands: Pick<Commands, 'create'>
}

/** The command of a body. An object as the predecessor's clients send it has no name, so that its channel names it. */
const commandOf = (body: z.output<typeof Body>): NewCommand => {
  const { command, params, command_type: type, ttl_s: ttlS, max_attempts: maxAttempts } = body
  const channel = body.channel ?? type ?? null
  const common = { channel, ttlS, maxAttempts }
  if (typeof command === 'string') return { command, params, ...common }
  return { command: channel ?? 'command', params: params ?? command, ...common }
}

export const createCommand = ({ commands, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const id = idOf(c)
    const { commandId, deviceId, issuedAt, expiresAt } = await commands.create(
      id,
      commandOf(await jsonBody(c, Body)),
    )
    return reply(c, 202, {
      command_id: commandId,
      status: 'queued',
      device_id: deviceId,
      issued_at: formatMillis(issuedAt),
      expires_at: formatMillis(expiresAt),
    })
  })

export const handler = serve(createCommand, { commands: runtime.commands })
