/** POST /api/v1/admin/webhooks/{id}/deliveries/{delivery_id}/retry: makes a delivery due now, also a finished one. */
import * as z from 'zod'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { idOf } from '../../lib/http/validate.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime-webhooks.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'
import { deliveryView } from '../../lib/webhooks/delivery.ts'
import type { DeliveryLog } from '../../lib/webhooks/delivery-log.ts'
import * as responses from '../../lib/webhooks/responses.ts'
import type { Waker } from '../../lib/webhooks/waker.ts'

export const documentation = () =>
  describeRoute({
    summary: 'Sends a delivery of a webhook again',
    description:
      'Its message keeps its id, so that the receiver knows it. A pause of the webhook ends. A day after the event one attempt is made, and no further one.',
    pathParameters: responses.deliveryIdParameter,
    responses: {
      202: json(
        'It is due now.',
        z.strictObject({ status: fields.success, message: z.string(), delivery: responses.delivery }),
      ),
    },
    errors: [409],
  })

export const route = defineRoute({
  addresses: ['POST /api/v1/admin/webhooks/:id/deliveries/:delivery_id/retry'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  deliveries: Pick<DeliveryLog, 'retry'>
  /** Undefined where the process sends by itself. */
  waker: Waker | undefined
}

export const retryDelivery = ({ deliveries, waker, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const delivery = await deliveries.retry(idOf(c, 'webhook'), idOf(c, 'delivery', 'delivery_id'))
    await waker?.wake()
    return reply(c, 202, {
      status: 'success',
      message: 'The delivery is due now',
      delivery: deliveryView(delivery),
    })
  })

export const handler = serve(retryDelivery, {
  deliveries: runtime.webhookDeliveries,
  waker: runtime.webhookWaker,
})
