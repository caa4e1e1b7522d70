/** GET /api/v1/telemetry/{id}: readings of a device, newest first, as JSON, CSV or NDJSON. */
import type { Device } from '../../lib/devices/device.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import { visibleDevice } from '../../lib/devices/reader.ts'
import type { Gate } from '../../lib/http/auth.ts'
import { endpoint, reply } from '../../lib/http/endpoint.ts'
import { lambda } from '../../lib/http/lambda.ts'
import { idOf, queryOf } from '../../lib/http/validate.ts'
import type { Log } from '../../lib/log.ts'
import * as runtime from '../../lib/runtime.ts'
import {
  csvBytes,
  HistoryParameters,
  maxAnswerBytes,
  nowNs,
  openEnd,
  readingView,
  toCsv,
  toNdjson,
} from '../../lib/telemetry/query.ts'
import type { Telemetry } from '../../lib/telemetry/telemetry.ts'
import { formatTime } from '../../lib/telemetry/time.ts'

interface Deps {
  log: Log
  gate: Gate<Device>
  devices: Devices
  telemetry: Telemetry
}

const hourNs = 3_600_000_000_000n

export const telemetryHistory = ({ log, gate, devices, telemetry }: Deps) =>
  endpoint(log, 'GET /api/v1/telemetry/:id', gate.read(), async (c, reader) => {
    const device = await visibleDevice(devices, reader, idOf(c))
    const asked = queryOf(c, HistoryParameters)
    const from = asked.start_time ?? nowNs() - hourNs
    const { readings, cursor } = await telemetry.history({
      deviceId: device.id,
      from,
      to: asked.end_time ?? openEnd(),
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

export const handler = lambda(async () =>
  telemetryHistory({
    log: runtime.log(),
    gate: await runtime.gate(),
    devices: await runtime.devices(),
    telemetry: await runtime.telemetry(),
  }),
)
