/** GET /api/v1/devices/telemetry: readings of the calling device, newest first. */
import * as z from 'zod'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { queryOf } from '../../lib/http/validate.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'
import { HistoryParameters, maxAnswerBytes, nowNs, readingView, zoneOf } from '../../lib/telemetry/query.ts'
import * as telemetryResponses from '../../lib/telemetry/responses.ts'
import type { TelemetryReader } from '../../lib/telemetry/telemetry-reader.ts'
import { formatTime, hourNs } from '../../lib/telemetry/time.ts'

const Query = HistoryParameters.omit({ format: true })

export const documentation = () =>
  describeRoute({
    summary: 'Reads the readings of the device itself',
    query: Query,
    exampleQuery: { start_time: '-1h', limit: 100 },
    fieldDescriptions: {
      start_time: 'Left out: a day back.',
      end_time: 'Left out: now, and the few minutes that clocks may be ahead.',
    },
    responses: {
      200: json(
        'Readings, newest first unless asked otherwise.',
        z.strictObject({
          status: fields.success,
          telemetry: z.array(telemetryResponses.reading),
          count: fields.count,
          limit: z.int().min(1),
          start_time: fields.time,
          next_cursor: fields.nextCursor,
        }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['GET /api/v1/devices/telemetry'],
  access: 'device',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  telemetry: TelemetryReader
}

export const ownHistory = ({ telemetry, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply, device) => {
    const asked = queryOf(c, Query)
    const zone = zoneOf(asked, device)
    const from = asked.start_time?.(zone) ?? nowNs() - 24n * hourNs
    const limit = asked.limit ?? 1000
    const { readings, cursor } = await telemetry.history({
      deviceId: device.id,
      from,
      to: asked.end_time?.(zone) ?? telemetry.openEnd(),
      fields: asked.fields,
      limit,
      order: asked.order ?? 'desc',
      cursor: asked.cursor,
      maxBytes: maxAnswerBytes,
    })
    return reply(c, 200, {
      status: 'success',
      telemetry: readings.map(readingView),
      count: readings.length,
      limit,
      start_time: formatTime(from),
      ...(cursor === undefined ? {} : { next_cursor: cursor }),
    })
  })

export const handler = serve(ownHistory, { telemetry: runtime.telemetryReader })
