/** POST /api/v1/admin/webhooks/{id}/test: sends a test message now, and answers with what came of it. */
import * as z from 'zod'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { idOf } from '../../lib/http/validate.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime-webhooks.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'
import { attemptView } from '../../lib/webhooks/delivery.ts'
import * as responses from '../../lib/webhooks/responses.ts'
import type { TestCall } from '../../lib/webhooks/test-call.ts'
import type { WebhookStore } from '../../lib/webhooks/webhook-store.ts'

export const documentation = () =>
  describeRoute({
    summary: 'Sends a test message to a webhook',
    description:
      'One attempt with an event of the type `webhook.test`, also while the webhook is disabled or paused.',
    responses: {
      200: json(
        'What came of it, whether or not the receiver took it.',
        z.strictObject({
          status: fields.success,
          delivered: z.boolean(),
          delivery_id: z.int().min(1),
          attempt: responses.attempt,
        }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['POST /api/v1/admin/webhooks/:id/test'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  webhooks: Pick<WebhookStore, 'get'>
  testCall: Pick<TestCall, 'make'>
}

export const testWebhook = ({ webhooks, testCall, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const { id } = await webhooks.get(idOf(c, 'webhook'))
    const { deliveryId, attempt } = await testCall.make(id)
    return reply(c, 200, {
      status: 'success',
      delivered: attempt.error === null,
      delivery_id: deliveryId,
      attempt: attemptView(attempt),
    })
  })

export const handler = serve(testWebhook, {
  webhooks: runtime.webhooks,
  testCall: runtime.webhookTestCall,
})
