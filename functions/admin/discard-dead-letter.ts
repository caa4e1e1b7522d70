/** DELETE /api/v1/admin/dead-letters/{id}: deletes a dead letter; its readings stay counted as rejected. */
import * as z from 'zod'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { idOf } from '../../lib/http/validate.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'
import type { DeadLetters } from '../../lib/telemetry/dead-letters.ts'

export const documentation = () =>
  describeRoute({
    summary: 'Gives up a message that could not be stored',
    responses: {
      200: json(
        'It stays counted as rejected.',
        z.strictObject({ status: fields.success, message: z.string(), id: z.int().min(1) }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['DELETE /api/v1/admin/dead-letters/:id'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  deadLetters: Pick<DeadLetters, 'get' | 'discard'>
}

export const discardDeadLetter = ({ deadLetters, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const { id } = await deadLetters.get(idOf(c))
    await deadLetters.discard(id)
    return reply(c, 200, { status: 'success', message: 'Dead letter discarded', id })
  })

export const handler = serve(discardDeadLetter, { deadLetters: runtime.deadLetters })
