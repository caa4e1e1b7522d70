/** GET /api/v1/admin/webhooks/{id}: an address that is told of events. */
import * as z from 'zod'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { idOf } from '../../lib/http/validate.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime-webhooks.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'
import * as responses from '../../lib/webhooks/responses.ts'
import { webhookView } from '../../lib/webhooks/webhook.ts'
import type { WebhookStore } from '../../lib/webhooks/webhook-store.ts'

export const documentation = () =>
  describeRoute({
    summary: 'Shows a webhook',
    responses: {
      200: json('Never its secret.', z.strictObject({ status: fields.success, webhook: responses.webhook })),
    },
  })

export const route = defineRoute({
  addresses: ['GET /api/v1/admin/webhooks/:id'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  webhooks: Pick<WebhookStore, 'get'>
}

export const showWebhook = ({ webhooks, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const webhook = await webhooks.get(idOf(c, 'webhook'))
    return reply(c, 200, { status: 'success', webhook: webhookView(webhook) })
  })

export const handler = serve(showWebhook, { webhooks: runtime.webhooks })
