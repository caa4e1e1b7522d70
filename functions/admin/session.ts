/** POST /api/v1/admin/session: exchanges a single-use code for the admin token, on this computer only. */
import * as z from 'zod'
import { AppError } from '../../lib/errors.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { namesLoopback } from '../../lib/http/host.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import type { SessionCodes } from '../../lib/http/session-codes.ts'
import { jsonBody } from '../../lib/http/validate.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

const Body = z.object({ code: z.string().min(1).max(100) }, 'must be a JSON object')

export const documentation = () =>
  describeRoute({
    summary: 'Exchanges a code for the admin token',
    description:
      'The code comes from the start of the server, or from `iotflow dashboard`; it is valid once, for five minutes. Only in stage `local` on a loopback address.',
    body: { schema: Body, required: true, examples: { code: { code: 'mWq3o0bqUJ5pVbGqj0xYyH2rZ5k' } } },
    responses: {
      200: json('The code is used up.', z.strictObject({ status: fields.success, token: z.string() })),
    },
    errors: [401, 404],
  })

export const route = defineRoute({
  addresses: ['POST /api/v1/admin/session'],
  access: 'none',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  /** Undefined where a browser may not get the token this way. */
  codes: Pick<SessionCodes, 'use'> | undefined
  adminToken: string | undefined
}

export const openSession = ({ codes, adminToken, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    // The Host header: a web page elsewhere can make a name of its own point to this computer.
    if (codes === undefined || adminToken === undefined || !namesLoopback(c))
      throw new AppError('NOT_FOUND', 'There is nothing at this address.')
    const { code } = await jsonBody(c, Body)
    if (!codes.use(code)) throw new AppError('UNAUTHORIZED', 'The code is used up, too old, or not valid.')
    return reply(c, 200, { status: 'success', token: adminToken })
  })

export const handler = serve(openSession, {
  codes: runtime.sessionCodes,
  adminToken: () => runtime.config().adminToken,
})
