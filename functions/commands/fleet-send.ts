/** POST /api/v1/admin/fleet/commands: one command to all devices that fit a filter, on request first to some of them. */
import * as z from 'zod'
import type { FleetCommands } from '../../lib/commands/fleet-commands.ts'
import {
  accepted,
  filter,
  fleetCommand,
  fleetCommandDescriptions,
  toNewFleetCommand,
} from '../../lib/commands/fleet-fields.ts'
import { notAnObject } from '../../lib/devices/fields.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { jsonBody } from '../../lib/http/validate.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

const Body = z.object({ ...fleetCommand, filter }, notAnObject)

export const documentation = () =>
  describeRoute({
    summary: 'Sends a command to many devices',
    description:
      'The devices are fixed when the request is answered; each gets the command once, and a device that is offline gets it when it connects. ' +
      'An empty filter is refused: `{"all": true}` means every device.',
    fieldDescriptions: fleetCommandDescriptions,
    body: {
      schema: Body,
      required: true,
      examples: {
        type: { command: 'reboot', filter: { device_type: 'sensor' } },
        canary: {
          command: 'update',
          params: { version: '2.1' },
          channel: 'firmware',
          filter: { device_type: 'sensor' },
          rate_per_s: 20,
          canary: 0.05,
          abort: { failed_share: 0.1 },
        },
      },
    },
    responses: {
      202: json('It is stored for all of them.', z.strictObject({ status: fields.success, ...accepted })),
    },
  })

export const route = defineRoute({
  addresses: ['POST /api/v1/admin/fleet/commands'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  fleetCommands: Pick<FleetCommands, 'create'>
}

export const sendFleetCommand = ({ fleetCommands, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const { filter, ...body } = await jsonBody(c, Body)
    const { fleetCommandId, targets, canaries } = await fleetCommands.create(toNewFleetCommand(body, filter))
    return reply(c, 202, {
      status: 'success',
      message: 'Fleet command accepted',
      fleet_command_id: fleetCommandId,
      targets,
      canaries,
    })
  })

export const handler = serve(sendFleetCommand, { fleetCommands: runtime.fleetCommands })
