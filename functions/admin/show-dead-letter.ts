/** GET /api/v1/admin/dead-letters/{id}: one message that could not be stored, with its payload. */
import type { Device } from '../../lib/devices/device.ts'
import type { Gate } from '../../lib/http/auth.ts'
import { endpoint, reply } from '../../lib/http/endpoint.ts'
import { lambda } from '../../lib/http/lambda.ts'
import { idOf } from '../../lib/http/validate.ts'
import type { Log } from '../../lib/log.ts'
import * as runtime from '../../lib/runtime.ts'
import { type DeadLetters, deadLetterView } from '../../lib/telemetry/dead-letters.ts'

export const showDeadLetter = ({
  log,
  gate,
  deadLetters,
}: {
  log: Log
  gate: Gate<Device>
  deadLetters: Pick<DeadLetters, 'get'>
}) =>
  endpoint(log, 'GET /api/v1/admin/dead-letters/:id', gate.admin(), async (c) => {
    const letter = await deadLetters.get(idOf(c))
    return reply(c, 200, {
      status: 'success',
      dead_letter: {
        ...deadLetterView(letter),
        payload_base64: Buffer.from(letter.payload).toString('base64'),
      },
    })
  })

export const handler = lambda(async () =>
  showDeadLetter({
    log: runtime.log(),
    gate: await runtime.gate(),
    deadLetters: await runtime.deadLetters(),
  }),
)
