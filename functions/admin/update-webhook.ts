/** PUT /api/v1/admin/webhooks/{id}: changes the fields that are sent. */
import * as z from 'zod'
import { identity, notAnObject } from '../../lib/devices/fields.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { idOf, jsonBody } from '../../lib/http/validate.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime-webhooks.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'
import type { UrlCheck } from '../../lib/webhooks/address-rules.ts'
import * as webhookFields from '../../lib/webhooks/fields.ts'
import * as responses from '../../lib/webhooks/responses.ts'
import { webhookView } from '../../lib/webhooks/webhook.ts'
import type { WebhookStore } from '../../lib/webhooks/webhook-store.ts'

const Body = z.object(
  {
    name: identity.name.optional(),
    url: webhookFields.url.optional(),
    events: webhookFields.events.optional(),
    enabled: webhookFields.enabled.optional(),
  },
  notAnObject,
)

export const documentation = () =>
  describeRoute({
    summary: 'Changes a webhook',
    description: 'Fields that are not sent stay as they are.',
    body: {
      schema: Body,
      required: true,
      examples: { off: { enabled: false }, events: { events: ['alert.*'] } },
    },
    fieldDescriptions: webhookFields.descriptions,
    responses: {
      200: json(
        'As it is now.',
        z.strictObject({ status: fields.success, message: z.string(), webhook: responses.webhook }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['PUT /api/v1/admin/webhooks/:id'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  webhooks: Pick<WebhookStore, 'get' | 'update'>
  checkUrl: UrlCheck
}

export const updateWebhook = ({ webhooks, checkUrl, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const id = idOf(c, 'webhook')
    await webhooks.get(id)
    const body = await jsonBody(c, Body)
    if (body.url !== undefined) await checkUrl(body.url)
    const webhook = await webhooks.update(id, body)
    return reply(c, 200, {
      status: 'success',
      message: 'Webhook updated successfully',
      webhook: webhookView(webhook),
    })
  })

export const handler = serve(updateWebhook, { webhooks: runtime.webhooks, checkUrl: runtime.webhookUrlCheck })
