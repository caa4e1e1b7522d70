/** GET /api/v1/telemetry/{id}/fields: the fields of a device, which a query may name. */
import * as z from 'zod'
import type { Devices } from '../../lib/devices/devices.ts'
import { visibleDevice } from '../../lib/devices/reader.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { idOf } from '../../lib/http/validate.ts'
import { formatMillis } from '../../lib/iso-time.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'
import { fieldTypes } from '../../lib/telemetry/field-catalogue.ts'
import type { TelemetryReader } from '../../lib/telemetry/telemetry-reader.ts'

export const documentation = () =>
  describeRoute({
    summary: 'Lists the fields of a device',
    description:
      'A name stands once for each type of its values. A device has at most 1,000 names; further fields are left out of its readings, with a warning.',
    responses: {
      200: json(
        'Sorted by name; empty for a device that has sent nothing yet.',
        z.strictObject({
          device_id: fields.deviceId,
          fields: z.array(
            z.strictObject({
              name: z.string(),
              type: z.enum(fieldTypes),
              first_seen: fields.time.describe('Arrival of its first value.'),
              last_seen: fields.time.describe(
                'Arrival of its newest value, some minutes late in deployed stages.',
              ),
            }),
          ),
        }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['GET /api/v1/telemetry/:id/fields'],
  access: 'read',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  devices: Devices
  telemetry: Pick<TelemetryReader, 'fields'>
}

export const telemetryFields = ({ devices, telemetry, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply, reader) => {
    const { id } = await visibleDevice(devices, reader, idOf(c))
    const found = await telemetry.fields(id)
    return reply(c, 200, {
      device_id: id,
      fields: found.map(({ name, type, firstSeen, lastSeen }) => ({
        name,
        type,
        first_seen: formatMillis(firstSeen),
        last_seen: formatMillis(lastSeen),
      })),
    })
  })

export const handler = serve(telemetryFields, {
  devices: runtime.devices,
  telemetry: runtime.telemetryReader,
})
