/** GET /api/v1/admin/webhooks: the addresses that are told of events, newest first. */
import * as z from 'zod'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { queryOf } from '../../lib/http/validate.ts'
import { optionalParameter, pageCursor, pageLimit } from '../../lib/parameters.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime-webhooks.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'
import * as responses from '../../lib/webhooks/responses.ts'
import { webhookView } from '../../lib/webhooks/webhook.ts'
import type { WebhookStore } from '../../lib/webhooks/webhook-store.ts'

const Query = z.object({
  limit: optionalParameter(pageLimit(100)),
  cursor: optionalParameter(pageCursor),
})

export const documentation = () =>
  describeRoute({
    summary: 'Lists the webhooks',
    query: Query,
    exampleQuery: { limit: 20 },
    responses: {
      200: json(
        'Newest first, without their secrets.',
        z.strictObject({
          status: fields.success,
          webhooks: z.array(responses.webhook),
          next_cursor: fields.nextCursor,
        }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['GET /api/v1/admin/webhooks'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  webhooks: Pick<WebhookStore, 'list'>
}

export const listWebhooks = ({ webhooks, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const { limit = 100, cursor } = queryOf(c, Query)
    const found = await webhooks.list({ limit: limit + 1, before: cursor })
    const page = found.slice(0, limit)
    return reply(c, 200, {
      status: 'success',
      webhooks: page.map(webhookView),
      ...(found.length > limit ? { next_cursor: String(page.at(-1)?.id) } : {}),
    })
  })

export const handler = serve(listWebhooks, { webhooks: runtime.webhooks })
