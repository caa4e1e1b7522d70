/** GET /api/v1/telemetry/{id}: readings of a device, newest first, as JSON, CSV or NDJSON. */
import * as z from 'zod'
import type { Devices } from '../../lib/devices/devices.ts'
import { visibleDevice } from '../../lib/devices/reader.ts'
import * as deviceResponses from '../../lib/devices/responses.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, typedBy } from '../../lib/http/route.ts'
import { idOf, queryOf } from '../../lib/http/validate.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'
import {
  csvBytes,
  HistoryParameters,
  maxAnswerBytes,
  nowNs,
  readingView,
  toCsv,
  toNdjson,
  zoneOf,
} from '../../lib/telemetry/query.ts'
import * as telemetryResponses from '../../lib/telemetry/responses.ts'
import type { TelemetryReader } from '../../lib/telemetry/telemetry-reader.ts'
import { formatTime, hourNs } from '../../lib/telemetry/time.ts'

export const documentation = () =>
  describeRoute({
    summary: 'Reads the readings of a device',
    description: 'An answer ends at 4 MB, with a cursor.',
    query: HistoryParameters,
    exampleQuery: { start_time: '-1h', limit: 100 },
    fieldDescriptions: {
      start_time: 'Left out: an hour back.',
      end_time: 'Left out: now, and the few minutes that clocks may be ahead.',
    },
    responses: {
      200: {
        description: 'Readings, newest first unless asked otherwise.',
        content: {
          'application/json': z.strictObject({
            ...deviceResponses.ofDevice,
            start_time: fields.time,
            data: z.array(telemetryResponses.reading),
            count: fields.count,
            next_cursor: fields.nextCursor,
          }),
          'text/csv': z
            .string()
            .describe(
              'A header line, then one line a reading, a column for every field that one of them has.',
            ),
          'application/x-ndjson': z.string().describe('One JSON object a line.'),
        },
        headers: ['X-Next-Cursor'],
      },
    },
  })

export const route = defineRoute({
  addresses: ['GET /api/v1/telemetry/:id'],
  access: 'read',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  devices: Devices
  telemetry: TelemetryReader
}

export const telemetryHistory = ({ devices, telemetry, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply, reader) => {
    const device = await visibleDevice(devices, reader, idOf(c))
    const asked = queryOf(c, HistoryParameters)
    const zone = zoneOf(asked, device)
    const from = asked.start_time?.(zone) ?? nowNs() - hourNs
    const { readings, cursor } = await telemetry.history({
      deviceId: device.id,
      from,
      to: asked.end_time?.(zone) ?? telemetry.openEnd(),
      fields: asked.fields,
      limit: asked.limit ?? 1000,
      order: asked.order ?? 'desc',
      cursor: asked.cursor,
      maxBytes: maxAnswerBytes,
      bytesOf: asked.format === 'csv' ? csvBytes() : undefined,
    })
    if (asked.format === 'csv' || asked.format === 'ndjson') {
      if (cursor !== undefined) c.get('headers')['X-Next-Cursor'] = cursor
      return asked.format === 'csv'
        ? reply(c, 200, toCsv(readings), 'text/csv; charset=utf-8')
        : reply(c, 200, toNdjson(readings), 'application/x-ndjson')
    }
    return reply(c, 200, {
      device_id: device.id,
      device_name: device.name,
      device_type: device.deviceType,
      start_time: formatTime(from),
      data: readings.map(readingView),
      count: readings.length,
      ...(cursor === undefined ? {} : { next_cursor: cursor }),
    })
  })

export const handler = serve(telemetryHistory, {
  devices: runtime.devices,
  telemetry: runtime.telemetryReader,
})
