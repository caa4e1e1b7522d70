/** GET /api/v1/devices/telemetry: the device's own readings, newest first. */
import type { Device } from '../../lib/devices/device.ts'
import type { Gate } from '../../lib/http/auth.ts'
import { endpoint, reply } from '../../lib/http/endpoint.ts'
import { lambda } from '../../lib/http/lambda.ts'
import { queryOf } from '../../lib/http/validate.ts'
import type { Log } from '../../lib/log.ts'
import * as runtime from '../../lib/runtime.ts'
import { HistoryParameters, maxAnswerBytes, nowNs, openEnd, readingView } from '../../lib/telemetry/query.ts'
import type { Telemetry } from '../../lib/telemetry/telemetry.ts'
import { formatTime } from '../../lib/telemetry/time.ts'

const hourNs = 3_600_000_000_000n

export const Parameters = HistoryParameters.omit({ format: true })

export const ownHistory = ({
  log,
  gate,
  telemetry,
}: {
  log: Log
  gate: Gate<Device>
  telemetry: Telemetry
}) =>
  endpoint(log, 'GET /api/v1/devices/telemetry', gate.device('requests'), async (c, device) => {
    const asked = queryOf(c, Parameters)
    const from = asked.start_time ?? nowNs() - hourNs
    const limit = asked.limit ?? 1000
    const { readings, cursor } = await telemetry.history({
      deviceId: device.id,
      from,
      to: asked.end_time ?? openEnd(),
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

export const handler = lambda(async () =>
  ownHistory({ log: runtime.log(), gate: await runtime.gate(), telemetry: await runtime.telemetry() }),
)
