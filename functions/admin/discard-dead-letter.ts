/** DELETE /api/v1/admin/dead-letters/{id}: the message is given up; it stays counted as rejected. */
import type { Device } from '../../lib/devices/device.ts'
import type { Gate } from '../../lib/http/auth.ts'
import { endpoint, reply } from '../../lib/http/endpoint.ts'
import { lambda } from '../../lib/http/lambda.ts'
import { idOf } from '../../lib/http/validate.ts'
import type { Log } from '../../lib/log.ts'
import * as runtime from '../../lib/runtime.ts'
import type { DeadLetters } from '../../lib/telemetry/dead-letters.ts'

export const discardDeadLetter = ({
  log,
  gate,
  deadLetters,
}: {
  log: Log
  gate: Gate<Device>
  deadLetters: Pick<DeadLetters, 'get' | 'discard'>
}) =>
  endpoint(log, 'DELETE /api/v1/admin/dead-letters/:id', gate.admin(), async (c) => {
    const { id } = await deadLetters.get(idOf(c))
    await deadLetters.discard(id)
    return reply(c, 200, { status: 'success', message: 'Dead letter discarded', id })
  })

export const handler = lambda(async () =>
  discardDeadLetter({
    log: runtime.log(),
    gate: await runtime.gate(),
    deadLetters: await runtime.deadLetters(),
  }),
)
