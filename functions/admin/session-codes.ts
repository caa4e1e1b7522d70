/** POST /api/v1/admin/session-codes: makes a single-use code that opens the dashboard in a browser on this computer. */
import * as z from 'zod'
import { AppError } from '../../lib/errors.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { namesLoopback } from '../../lib/http/host.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { codeValidMs, type SessionCodes } from '../../lib/http/session-codes.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

export const documentation = () =>
  describeRoute({
    summary: 'Makes a code for the dashboard',
    description: 'See `POST /api/v1/admin/session`. Only in stage `local` on a loopback address.',
    responses: {
      201: json(
        'The code is valid once.',
        z.strictObject({
          status: fields.success,
          code: z.string(),
          valid_s: z.int().min(1).describe('Seconds from now.'),
        }),
      ),
    },
    errors: [404],
  })

export const route = defineRoute({
  addresses: ['POST /api/v1/admin/session-codes'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  /** Undefined where a browser may not get the token this way. */
  codes: Pick<SessionCodes, 'make'> | undefined
}

export const makeSessionCode = ({ codes, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    if (codes === undefined || !namesLoopback(c))
      throw new AppError('NOT_FOUND', 'There is nothing at this address.')
    return reply(c, 201, { status: 'success', code: codes.make(), valid_s: codeValidMs / 1000 })
  })

export const handler = serve(makeSessionCode, { codes: runtime.sessionCodes })
