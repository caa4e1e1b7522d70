/** DELETE /api/v1/telemetry/{id}: deletes the readings of a time range; both ends are required. */
import * as z from 'zod'
import type { Devices } from '../../lib/devices/devices.ts'
import { visibleDevice } from '../../lib/devices/reader.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { respondAsync, wantsAsync } from '../../lib/http/prefer.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { bodyOrQuery, idOf } from '../../lib/http/validate.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'
import { RemovalRange, zoneOf } from '../../lib/telemetry/query.ts'
import * as telemetryResponses from '../../lib/telemetry/responses.ts'
import type { Telemetry } from '../../lib/telemetry/telemetry.ts'
import { formatTime } from '../../lib/telemetry/time.ts'

export const documentation = () => {
  const removed = z.strictObject({
    message: z.string(),
    device_id: fields.deviceId,
    start_time: fields.time,
    stop_time: fields.time,
  })
  return describeRoute({
    summary: 'Deletes the readings of a range',
    description:
      'Both ends have to be named, in the body or in the query; the body counts where there is one. Until a large deletion is finished, readings of its range that come meanwhile go, too.',
    query: RemovalRange,
    body: {
      schema: RemovalRange,
      required: false,
      examples: { 'a day': { start_time: '2026-01-30T00:00:00Z', stop_time: '2026-01-31T00:00:00Z' } },
    },
    fieldDescriptions: { start_time: 'Belongs to the range.', stop_time: 'Does not belong to it.' },
    otherParameters: { Prefer: respondAsync },
    responses: {
      200: json('They are deleted.', removed),
      202: json(
        'They are more than one request deletes. The rest goes on; `GET /api/v1/admin/deletions/{id}` shows how far it is.',
        removed.extend({ status: z.literal('deleting'), ...telemetryResponses.deletionId }),
      ),
    },
  })
}

export const route = defineRoute({
  addresses: ['DELETE /api/v1/telemetry/:id'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  devices: Pick<Devices, 'find' | 'findDeleted' | 'forgetDeleted'>
  telemetry: Pick<Telemetry, 'remove' | 'count'>
}

export const removeTelemetry = ({ devices, telemetry, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const device = await visibleDevice(devices, { kind: 'admin' }, idOf(c))
    const { id } = device
    const asked = await bodyOrQuery(c, RemovalRange)
    const zone = zoneOf(asked, device)
    const [from, to] = [asked.start_time(zone), asked.stop_time(zone)]
    const deletion = await telemetry.remove(id, { from, to }, wantsAsync(c) ? 0 : undefined)
    const answer = { device_id: id, start_time: formatTime(from), stop_time: formatTime(to) }
    if (deletion?.finishedAt === null)
      return reply(c, 202, {
        message: 'Telemetry is being deleted',
        ...answer,
        status: 'deleting',
        deletion_id: deletion.id,
      })
    if ('deletedAt' in device && (await telemetry.count(id)) === 0) await devices.forgetDeleted(id)
    return reply(c, 200, { message: 'Telemetry deleted successfully', ...answer })
  })

export const handler = serve(removeTelemetry, { devices: runtime.devices, telemetry: runtime.telemetry })
