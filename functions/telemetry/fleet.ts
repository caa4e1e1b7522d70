/** GET /api/v1/telemetry: one field of many devices, its newest values or one value for each time window. */
import * as z from 'zod'
import type { Device } from '../../lib/devices/device.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import * as deviceResponses from '../../lib/devices/responses.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { queryOf } from '../../lib/http/validate.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'
import { aggregateDevices, maxSeries } from '../../lib/telemetry/many-devices.ts'
import { FleetParameters, nowNs, refuseWindowsWithoutAggregation } from '../../lib/telemetry/query.ts'
import * as telemetryResponses from '../../lib/telemetry/responses.ts'
import { aggregations } from '../../lib/telemetry/store.ts'
import type { TelemetryReader } from '../../lib/telemetry/telemetry-reader.ts'
import { formatTime, hourNs } from '../../lib/telemetry/time.ts'

export const documentation = () => {
  const ofDevice = { ...deviceResponses.ofDevice, labels: deviceResponses.device.shape.labels }
  const answer = {
    status: fields.success,
    total_devices: fields.count.describe('Devices that fit, on all pages.'),
    field: z.string(),
  }
  const latest = z.strictObject({
    ...answer,
    devices: z.array(
      z.strictObject({
        ...ofDevice,
        timestamp: fields.time.nullable().describe('Of this value; null where the device has none.'),
        value: telemetryResponses.fieldValue.nullable(),
      }),
    ),
    next_cursor: fields.nextCursor,
  })
  const windows = z.strictObject({
    ...answer,
    aggregation: z.enum(aggregations),
    window: z.string(),
    start_time: fields.time,
    devices: z.array(
      z.strictObject({
        ...ofDevice,
        data: z.array(
          z.strictObject({ timestamp: fields.time, value: telemetryResponses.fieldValue.nullable() }),
        ),
        count: fields.count,
        error: z
          .literal('NOT_NUMERIC')
          .optional()
          .describe('The field of this device is text, which the aggregation does not take.'),
      }),
    ),
    next_cursor: fields.nextCursor,
  })
  return describeRoute({
    summary: 'Reads one field of many devices',
    description: `The newest value of each device that fits, with its time; with \`aggregation\` one value per window of time, of at most ${maxSeries} devices a page. A page with many windows has fewer devices: \`next_cursor\` goes on.`,
    query: FleetParameters,
    exampleQuery: { selector: 'site=north,floor!=2', field: 'temperature', limit: 50 },
    fieldDescriptions: {
      selector: 'Only devices with these labels; every device if left out.',
      device_type: 'Only devices of this type.',
      field: 'The name of a field.',
      aggregation: 'Left out: the newest values.',
      window: 'With `aggregation` only; `1h` if left out.',
      start_time: 'With `aggregation` only; left out: a day back.',
      end_time: 'With `aggregation` only; left out: now, and the few minutes that clocks may be ahead.',
      timezone: 'With `aggregation` only: IANA name of the zone of all windows; UTC if left out.',
      fill: 'Adds the windows without a value: with null, with the value of the window before, or with 0.',
    },
    responses: { 200: json('In the order of the ids of the devices.', z.union([latest, windows])) },
  })
}

export const route = defineRoute({
  addresses: ['GET /api/v1/telemetry'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  devices: Pick<Devices, 'list'>
  telemetry: Pick<TelemetryReader, 'aggregate' | 'latestValues' | 'openEnd'>
}

const ofDevice = ({ id, name, deviceType, labels }: Device) => ({
  device_id: id,
  device_name: name,
  device_type: deviceType,
  labels,
})

/** The cursor of the page behind a device; none where no device is left. */
const nextOf = (last: Device | undefined, isMore: boolean) =>
  isMore && last !== undefined ? { next_cursor: String(last.id) } : {}

export const fleetTelemetry = ({ devices, telemetry, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const asked = queryOf(c, FleetParameters)
    refuseWindowsWithoutAggregation(asked)
    const { selector, device_type: deviceType, field, aggregation, limit = 100, cursor } = asked
    const page = await devices.list({
      selector,
      deviceType,
      limit: aggregation === undefined ? limit : Math.min(limit, maxSeries),
      after: cursor === undefined ? undefined : { id: cursor },
    })
    const ids = page.devices.map(({ id }) => id)
    const answer = { status: 'success' as const, total_devices: page.total, field }
    if (aggregation === undefined) {
      const latest = await telemetry.latestValues(ids, field)
      return reply(c, 200, {
        ...answer,
        devices: page.devices.map((device) => {
          const { time, value = null } = latest.get(device.id) ?? {}
          return { ...ofDevice(device), timestamp: time === undefined ? null : formatTime(time), value }
        }),
        ...nextOf(page.devices.at(-1), page.next !== undefined),
      })
    }
    const zone = asked.timezone ?? 'UTC'
    const from = asked.start_time?.(zone) ?? nowNs() - 24n * hourNs
    const to = asked.end_time?.(zone)
    const series = await aggregateDevices(telemetry, ids, {
      field,
      aggregation,
      window: asked.window ?? { unit: 'second', count: 3600 },
      timezone: zone,
      from,
      to: to ?? telemetry.openEnd(),
      fill: asked.fill,
      // Without an end, windows that have not begun are not filled.
      fillUntil: to ?? nowNs() + 1n,
    })
    const shown = page.devices.slice(0, series.length)
    return reply(c, 200, {
      ...answer,
      aggregation,
      window: c.req.query('window') || '1h',
      start_time: formatTime(from),
      devices: shown.map((device, at) => {
        const { windows = [], isText = false } = series[at] ?? {}
        return {
          ...ofDevice(device),
          data: windows.map(({ time, values }) => ({
            timestamp: formatTime(time),
            value: values[field] ?? null,
          })),
          count: windows.length,
          ...(isText ? { error: 'NOT_NUMERIC' as const } : {}),
        }
      }),
      ...nextOf(shown.at(-1), page.next !== undefined || shown.length < page.devices.length),
    })
  })

export const handler = serve(fleetTelemetry, { devices: runtime.devices, telemetry: runtime.telemetryReader })
