/** GET /api/v1/admin/webhooks/{id}/deliveries/{delivery_id}: a delivery with its message and each attempt. */
import * as z from 'zod'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { idOf } from '../../lib/http/validate.ts'
import { formatMillis } from '../../lib/iso-time.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime-webhooks.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'
import { attemptView, deliveryView } from '../../lib/webhooks/delivery.ts'
import type { DeliveryLog } from '../../lib/webhooks/delivery-log.ts'
import * as responses from '../../lib/webhooks/responses.ts'

export const documentation = () =>
  describeRoute({
    summary: 'Shows a delivery of a webhook',
    pathParameters: responses.deliveryIdParameter,
    responses: {
      200: json(
        'With each attempt.',
        z.strictObject({ status: fields.success, delivery: responses.deliveryDetails }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['GET /api/v1/admin/webhooks/:id/deliveries/:delivery_id'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  deliveries: Pick<DeliveryLog, 'get'>
}

export const showDelivery = ({ deliveries, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const found = await deliveries.get(idOf(c, 'webhook'), idOf(c, 'delivery', 'delivery_id'))
    const { delivery, event, attempts } = found
    return reply(c, 200, {
      status: 'success',
      delivery: {
        ...deliveryView(delivery),
        body: {
          type: event.type,
          timestamp: formatMillis(event.at),
          data: JSON.parse(event.data) as Record<string, unknown>,
        },
        attempts: attempts.map(attemptView),
      },
    })
  })

export const handler = serve(showDelivery, { deliveries: runtime.webhookDeliveries })
