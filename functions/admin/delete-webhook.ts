/** DELETE /api/v1/admin/webhooks/{id}: ends it, with its deliveries. */
import * as z from 'zod'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { idOf } from '../../lib/http/validate.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime-webhooks.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'
import type { WebhookStore } from '../../lib/webhooks/webhook-store.ts'

export const documentation = () =>
  describeRoute({
    summary: 'Deletes a webhook',
    description: 'Its deliveries and their attempts are deleted, too.',
    responses: {
      200: json(
        'It is told of nothing any more.',
        z.strictObject({ status: fields.success, message: z.string(), webhook_id: z.int().min(1) }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['DELETE /api/v1/admin/webhooks/:id'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  webhooks: Pick<WebhookStore, 'delete'>
}

export const deleteWebhook = ({ webhooks, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const { id } = await webhooks.delete(idOf(c, 'webhook'))
    return reply(c, 200, { status: 'success', message: 'Webhook deleted successfully', webhook_id: id })
  })

export const handler = serve(deleteWebhook, { webhooks: runtime.webhooks })
