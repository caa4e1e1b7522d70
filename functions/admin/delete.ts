/** DELETE /api/v1/admin/devices/{id}: deletes a device, its sessions and retained messages, and on request its telemetry. */

import * as z from 'zod'
import type { Alerts } from '../../lib/alerts/alerts.ts'
import { clearLeavers } from '../../lib/alerts/leavers.ts'
import type { Sessions } from '../../lib/broker/sessions.ts'
import type { Configurations } from '../../lib/configuration/configurations.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import * as deviceResponses from '../../lib/devices/responses.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { respondAsync, wantsAsync } from '../../lib/http/prefer.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { idOf, queryOf } from '../../lib/http/validate.ts'
import { optionalParameter } from '../../lib/parameters.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'
import * as telemetryResponses from '../../lib/telemetry/responses.ts'
import { allTime } from '../../lib/telemetry/store.ts'
import type { Telemetry } from '../../lib/telemetry/telemetry.ts'

const Query = z.object({
  telemetry: optionalParameter(z.enum(['true', 'false'], 'must be true or false')),
})

export const documentation = () => {
  const deleted = z.strictObject({
    status: fields.success,
    message: z.string(),
    device_id: fields.deviceId,
    device_name: z.string(),
    telemetry_deleted: z.boolean().describe('Whether all of its telemetry is gone by now.'),
    sessions_ended: deviceResponses.sessionsEnded,
  })
  return describeRoute({
    summary: 'Deletes a device',
    description:
      'Its keys, sessions and retained messages go with it, and if asked its telemetry. Telemetry that stays is read and deleted under the same id, by operators only.',
    query: Query,
    exampleQuery: { telemetry: 'true' },
    fieldDescriptions: { telemetry: 'Whether its telemetry goes too.' },
    otherParameters: { Prefer: respondAsync },
    responses: {
      200: json('It is deleted.', deleted),
      202: json(
        'It is deleted, and nobody can read its telemetry any more, which is more than one request deletes. The rest goes on; `GET /api/v1/admin/deletions/{id}` shows how far it is.',
        deleted.extend(telemetryResponses.deletionId),
      ),
    },
  })
}

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
  alerts: Pick<Alerts, 'clearOf'>
}

export const deleteDevice = ({ log, access, devices, configurations, sessions, telemetry, alerts }: Deps) =>
  endpoint(route, { log, access }, async (c, reply) => {
    const id = idOf(c)
    const withTelemetry = queryOf(c, Query).telemetry === 'true'
    // Revoke the keys first, so that the device cannot connect again; end the sessions before its row, which names them, is gone.
    await devices.revokeKeys(id)
    const sessionsEnded = await sessions.end(id)
    const waitMs = wantsAsync(c) ? 0 : undefined
    // A large deletion is noted before the device is gone: a process that ends in between leaves no telemetry without a way to it.
    if (withTelemetry) await telemetry.remove(id, allTime, 0)
    const device = await devices.delete(id)
    await configurations.clear(id).catch((error: unknown) => {
      log.warn('retained messages could not be cleared', { device_id: id, error })
    })
    // Again, because messages may have come until the device was gone.
    const deletion = withTelemetry ? await telemetry.remove(id, allTime, waitMs) : undefined
    if (!withTelemetry) await telemetry.dropSpooled(id)
    // While a store cannot tell how many readings there are, the id stays among the deleted ones.
    const left = withTelemetry ? 0 : await telemetry.count(id).catch(() => undefined)
    if (left === 0) await devices.forgetDeleted(id)
    await clearLeavers([{ id, status: 'device_deleted' }], { alerts, log })
    const answer = {
      status: 'success' as const,
      message: 'Device deleted successfully',
      device_id: id,
      device_name: device.name,
      sessions_ended: sessionsEnded,
    }
    return deletion?.finishedAt === null
      ? reply(c, 202, { ...answer, telemetry_deleted: false, deletion_id: deletion.id })
      : reply(c, 200, { ...answer, telemetry_deleted: withTelemetry })
  })

export const handler = serve(deleteDevice, {
  devices: runtime.devices,
  configurations: runtime.configurations,
  sessions: runtime.sessions,
  telemetry: runtime.telemetry,
  alerts: runtime.alerts,
})
