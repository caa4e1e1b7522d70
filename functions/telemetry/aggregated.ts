/** GET /api/v1/telemetry/{id}/aggregated: one value for each time window, newest first. */
import * as z from 'zod'
import type { Devices } from '../../lib/devices/devices.ts'
import { visibleDevice } from '../../lib/devices/reader.ts'
import * as deviceResponses from '../../lib/devices/responses.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { idOf, queryOf } from '../../lib/http/validate.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'
import { AggregateParameters, nowNs, zoneOf } from '../../lib/telemetry/query.ts'
import * as telemetryResponses from '../../lib/telemetry/responses.ts'
import { aggregations } from '../../lib/telemetry/store.ts'
import type { TelemetryReader } from '../../lib/telemetry/telemetry-reader.ts'
import { formatTime, hourNs } from '../../lib/telemetry/time.ts'

export const documentation = () => {
  // Its type says nothing of the values: TypeScript cannot tell their names from `timestamp`.
  const window: z.ZodType<{ readonly timestamp: string }> = z
    .strictObject({ timestamp: fields.time })
    .catchall(telemetryResponses.fieldValue.nullable())
    .describe('`value`, or with `field=*` every field under its own name.')
  return describeRoute({
    summary: 'Reads one value per window of time',
    description:
      'Newest window first, empty ones left out unless `fill` is given; a range of more than 10,000 windows is refused. Booleans count as 0 and 1. `count`, `first` and `last` take text, too; for the others a field that is text in the whole range is refused with `NOT_NUMERIC`.',
    query: AggregateParameters,
    exampleQuery: { field: 'temperature', aggregation: 'mean', window: '1h', start_time: '-24h' },
    fieldDescriptions: {
      start_time: 'Left out: a day back.',
      end_time: 'Left out: now, and the few minutes that clocks may be ahead.',
      field: 'The name of a field, `temperature` if left out; `*` for every one with a number in the range.',
      aggregation: '`mean` if left out.',
      window: '`1h` if left out.',
      fill: 'Adds the windows without a value: with null, with the value of the window before, or with 0.',
    },
    responses: {
      200: json(
        'The windows, each under the time it begins.',
        z.strictObject({
          ...deviceResponses.ofDevice,
          field: z.string(),
          aggregation: z.enum(aggregations),
          window: z.string(),
          start_time: fields.time,
          data: z.array(window),
          count: fields.count,
        }),
      ),
    },
  })
}

export const route = defineRoute({
  addresses: ['GET /api/v1/telemetry/:id/aggregated'],
  access: 'read',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  devices: Devices
  telemetry: TelemetryReader
}

export const aggregatedTelemetry = ({ devices, telemetry, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply, reader) => {
    const device = await visibleDevice(devices, reader, idOf(c))
    const asked = queryOf(c, AggregateParameters)
    const field = asked.field ?? 'temperature'
    const aggregation = asked.aggregation ?? 'mean'
    const zone = zoneOf(asked, device)
    const from = asked.start_time?.(zone) ?? nowNs() - 24n * hourNs
    const to = asked.end_time?.(zone)
    const windows = await telemetry.aggregate({
      deviceId: device.id,
      field: field === '*' ? undefined : field,
      aggregation,
      window: asked.window ?? { unit: 'second', count: 3600 },
      timezone: zone,
      from,
      to: to ?? telemetry.openEnd(),
      fill: asked.fill,
      // Without an end, windows that have not begun are not filled.
      fillUntil: to ?? nowNs() + 1n,
    })
    return reply(c, 200, {
      device_id: device.id,
      device_name: device.name,
      device_type: device.deviceType,
      field,
      aggregation,
      window: c.req.query('window') || '1h',
      start_time: formatTime(from),
      data: windows.map(({ time, values }) => ({
        timestamp: formatTime(time),
        ...(field === '*' ? values : { value: values[field] ?? null }),
      })),
      count: windows.length,
    })
  })

export const handler = serve(aggregatedTelemetry, {
  devices: runtime.devices,
  telemetry: runtime.telemetryReader,
})
