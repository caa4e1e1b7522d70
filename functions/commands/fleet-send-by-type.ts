/** POST /api/v1/mqtt/fleet/{device_type}/command: one command to all devices of a type, under the predecessor's name. */
import * as z from 'zod'
import type { FleetCommands } from '../../lib/commands/fleet-commands.ts'
import {
  accepted,
  fleetCommand,
  fleetCommandDescriptions,
  toNewFleetCommand,
} from '../../lib/commands/fleet-fields.ts'
import { notAnObject } from '../../lib/devices/fields.ts'
import { AppError } from '../../lib/errors.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { jsonBody } from '../../lib/http/validate.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

const Body = z.object(fleetCommand, notAnObject)

export const documentation = () =>
  describeRoute({
    summary: 'Sends a command to all devices of a type',
    description: 'The same as `POST /api/v1/admin/fleet/commands` with this `device_type` as its filter.',
    pathParameters: {
      device_type: {
        description: 'The type of the devices.',
        schema: { type: 'string', minLength: 1, maxLength: 64 },
        example: 'sensor',
      },
    },
    fieldDescriptions: fleetCommandDescriptions,
    body: { schema: Body, required: true, examples: { reboot: { command: 'reboot', params: {} } } },
    responses: {
      202: json('It is stored for all of them.', z.strictObject({ status: fields.success, ...accepted })),
    },
  })

export const route = defineRoute({
  addresses: ['POST /api/v1/mqtt/fleet/:device_type/command'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  fleetCommands: Pick<FleetCommands, 'create'>
}

const noSuchType = (error: unknown): unknown =>
  error instanceof AppError && error.details?.some(({ path }) => path === 'filter')
    ? new AppError('NOT_FOUND', 'There is no device of this type that may connect.')
    : error

export const sendFleetCommandByType = ({ fleetCommands, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const body = await jsonBody(c, Body)
    const wanted = toNewFleetCommand(body, { device_type: c.req.param('device_type') ?? '' })
    const { fleetCommandId, targets, canaries } = await fleetCommands
      .create(wanted)
      .catch((error: unknown) => {
        throw noSuchType(error)
      })
    return reply(c, 202, {
      status: 'success',
      message: 'Fleet command accepted',
      fleet_command_id: fleetCommandId,
      targets,
      canaries,
    })
  })

export const handler = serve(sendFleetCommandByType, { fleetCommands: runtime.fleetCommands })
