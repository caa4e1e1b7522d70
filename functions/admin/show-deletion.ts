/** GET /api/v1/admin/deletions/{id}: how far a large deletion of telemetry has come. */
import * as z from 'zod'
import { AppError } from '../../lib/errors.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { idOf } from '../../lib/http/validate.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'
import { deletionView } from '../../lib/telemetry/deletion.ts'
import type { Deletions } from '../../lib/telemetry/embedded/deletions.ts'
import * as telemetryResponses from '../../lib/telemetry/responses.ts'

export const documentation = () =>
  describeRoute({
    summary: 'Shows how far a large deletion of telemetry has come',
    responses: {
      200: json(
        'How far it has come.',
        z.strictObject({ status: fields.success, deletion: telemetryResponses.deletion }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['GET /api/v1/admin/deletions/:id'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  deletions: Pick<Deletions, 'find'>
}

export const showDeletion = ({ deletions, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const deletion = await deletions.find(idOf(c, 'deletion'))
    if (deletion === undefined) throw new AppError('NOT_FOUND', 'There is no such deletion.')
    return reply(c, 200, { status: 'success', deletion: deletionView(deletion) })
  })

export const handler = serve(showDeletion, { deletions: runtime.deletions })
