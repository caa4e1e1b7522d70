/** DELETE /api/v1/admin/devices/{id}: deletes a device, its sessions and retained messages, and on request its telemetry. */

import * as z from 'zod'
import type { Sessions } from '../../lib/broker/sessions.ts'
import type { Configurations } from '../../lib/configuration/configurations.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import * as deviceResponses from '../../lib/devices/responses.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { idOf, queryOf } from '../../lib/http/validate.ts'
import { optionalParameter } from '../../lib/parameters.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'
import { allTime } from '../../lib/telemetry/store.ts'
import type { Telemetry } from '../../lib/telemetry/telemetry.ts'

const Query = z.object({
  telemetry: optionalParameter(z.enum(['true', 'false'], 'must be true or false')),
})

export const documentation = () =>
  describeRoute({
    summary: 'Deletes a device',
    description:
      'Its keys, sessions and retained messages go with it, and if asked its telemetry. Telemetry that stays is read and deleted under the same id, by operators only.',
    query: Query,
    exampleQuery: { telemetry: 'true' },
    fieldDescriptions: { telemetry: 'Whether its telemetry goes too.' },
    responses: {
      200: json(
        'It is deleted.',
        z.strictObject({
          status: fields.success,
          message: z.string(),
          device_id: fields.deviceId,
          device_name: z.string(),
          telemetry_deleted: z.boolean(),
          sessions_ended: deviceResponses.sessionsEnded,
        }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['DELETE /api/v1/admin/devices/:id'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  devices: Devices
  configurations: Pick<Configurations, 'clear'>
  sessions: Sessions
  telemetry: Pick<Telemetry, 'remove' | 'dropSpooled' | 'count'>
}

export const deleteDevice = ({ log, access, devices, configurations, sessions, telemetry }: Deps) =>
  endpoint(route, { log, access }, async (c, reply) => {
    const id = idOf(c)
    const withTelemetry = queryOf(c, Query).telemetry === 'true'
    // Revoke the keys first, so that the device cannot connect again; end the sessions before its row, which names them, is gone.
    await devices.revokeKeys(id)
    const sessionsEnded = await sessions.end(id)
    const device = await devices.delete(id)
    await configurations.clear(id).catch((error: unknown) => {
      log.warn('retained messages could not be cleared', { device_id: id, error })
    })
    if (withTelemetry) await telemetry.remove(id, allTime)
    else await telemetry.dropSpooled(id)
    // While a store cannot tell how many readings there are, the id stays among the deleted ones.
    const left = withTelemetry ? 0 : await telemetry.count(id).catch(() => undefined)
    if (left === 0) await devices.forgetDeleted(id)
    return reply(c, 200, {
      status: 'success',
      message: 'Device deleted successfully',
      device_id: id,
      device_name: device.name,
      telemetry_deleted: withTelemetry,
      sessions_ended: sessionsEnded,
    })
  })

export const handler = serve(deleteDevice, {
  devices: runtime.devices,
  configurations: runtime.configurations,
  sessions: runtime.sessions,
  telemetry: runtime.telemetry,
})
