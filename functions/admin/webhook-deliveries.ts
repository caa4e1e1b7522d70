/** GET /api/v1/admin/webhooks/{id}/deliveries: what a webhook was told, newest first. */
import * as z from 'zod'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { idOf, queryOf } from '../../lib/http/validate.ts'
import { optionalParameter, pageCursor, pageLimit } from '../../lib/parameters.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime-webhooks.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'
import { deliveryStatuses, deliveryView } from '../../lib/webhooks/delivery.ts'
import type { DeliveryLog } from '../../lib/webhooks/delivery-log.ts'
import * as responses from '../../lib/webhooks/responses.ts'
import type { WebhookStore } from '../../lib/webhooks/webhook-store.ts'

const Query = z.object({
  status: optionalParameter(z.enum(deliveryStatuses, `must be one of ${deliveryStatuses.join(', ')}`)),
  limit: optionalParameter(pageLimit(1000)),
  cursor: optionalParameter(pageCursor),
})

export const documentation = () =>
  describeRoute({
    summary: 'Lists the deliveries of a webhook',
    description: 'They are kept for seven days after their end.',
    query: Query,
    exampleQuery: { status: 'failed', limit: 20 },
    responses: {
      200: json(
        'Newest first.',
        z.strictObject({
          status: fields.success,
          webhook_id: z.int().min(1),
          deliveries: z.array(responses.delivery),
          next_cursor: fields.nextCursor,
        }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['GET /api/v1/admin/webhooks/:id/deliveries'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  webhooks: Pick<WebhookStore, 'get'>
  deliveries: Pick<DeliveryLog, 'list'>
}

export const listDeliveries = ({ webhooks, deliveries, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const { limit = 100, cursor, status } = queryOf(c, Query)
    const { id } = await webhooks.get(idOf(c, 'webhook'))
    const found = await deliveries.list(id, { limit: limit + 1, before: cursor, status })
    const page = found.slice(0, limit)
    return reply(c, 200, {
      status: 'success',
      webhook_id: id,
      deliveries: page.map(deliveryView),
      ...(found.length > limit ? { next_cursor: String(page.at(-1)?.id) } : {}),
    })
  })

export const handler = serve(listDeliveries, {
  webhooks: runtime.webhooks,
  deliveries: runtime.webhookDeliveries,
})
