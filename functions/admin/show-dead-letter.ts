/** GET /api/v1/admin/dead-letters/{id}: one dead letter with its payload. */
import * as z from 'zod'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { idOf } from '../../lib/http/validate.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'
import { type DeadLetters, deadLetterView } from '../../lib/telemetry/dead-letters.ts'
import * as telemetryResponses from '../../lib/telemetry/responses.ts'

export const documentation = () =>
  describeRoute({
    summary: 'Shows a message that could not be stored',
    responses: {
      200: json(
        'With its whole payload.',
        z.strictObject({
          status: fields.success,
          dead_letter: telemetryResponses.deadLetter.extend({ payload_base64: z.string() }),
        }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['GET /api/v1/admin/dead-letters/:id'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  deadLetters: Pick<DeadLetters, 'get'>
}

export const showDeadLetter = ({ deadLetters, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const letter = await deadLetters.get(idOf(c))
    return reply(c, 200, {
      status: 'success',
      dead_letter: {
        ...deadLetterView(letter),
        payload_base64: Buffer.from(letter.payload).toString('base64'),
      },
    })
  })

export const handler = serve(showDeadLetter, { deadLetters: runtime.deadLetters })
