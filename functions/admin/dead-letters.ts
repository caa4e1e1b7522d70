/** GET /api/v1/admin/dead-letters: messages that could not be stored, newest first, with the reason. */
import * as z from 'zod'
import type { Device } from '../../lib/devices/device.ts'
import type { Gate } from '../../lib/http/auth.ts'
import { endpoint, reply } from '../../lib/http/endpoint.ts'
import { lambda } from '../../lib/http/lambda.ts'
import { queryOf } from '../../lib/http/validate.ts'
import type { Log } from '../../lib/log.ts'
import { given, pageCursor, pageLimit } from '../../lib/parameters.ts'
import * as runtime from '../../lib/runtime.ts'
import { type DeadLetters, deadLetterView } from '../../lib/telemetry/dead-letters.ts'

export const Parameters = z.object({
  device_id: given(
    z
      .string()
      .regex(/^\d{1,15}$/, 'must be the id of a device')
      .meta({ description: 'Only those of this device.' })
      .transform(Number),
  ),
  limit: given(pageLimit(1000)),
  cursor: given(pageCursor),
})

export const listDeadLetters = ({
  log,
  gate,
  deadLetters,
}: {
  log: Log
  gate: Gate<Device>
  deadLetters: Pick<DeadLetters, 'list'>
}) =>
  endpoint(log, 'GET /api/v1/admin/dead-letters', gate.admin(), async (c) => {
    const { device_id: deviceId, limit = 100, cursor } = queryOf(c, Parameters)
    const { letters, total } = await deadLetters.list({ deviceId, limit: limit + 1, before: cursor })
    const page = letters.slice(0, limit)
    return reply(c, 200, {
      status: 'success',
      total,
      dead_letters: page.map(deadLetterView),
      ...(letters.length > limit ? { next_cursor: String(page.at(-1)?.id) } : {}),
    })
  })

export const handler = lambda(async () =>
  listDeadLetters({
    log: runtime.log(),
    gate: await runtime.gate(),
    deadLetters: await runtime.deadLetters(),
  }),
)
