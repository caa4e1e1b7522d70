/** POST /api/v1/admin/webhooks: makes a webhook, with the secret by which its receiver checks messages. */
import * as z from 'zod'
import { identity, notAnObject } from '../../lib/devices/fields.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { jsonBody } from '../../lib/http/validate.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime-webhooks.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'
import type { UrlCheck } from '../../lib/webhooks/address-rules.ts'
import * as webhookFields from '../../lib/webhooks/fields.ts'
import * as responses from '../../lib/webhooks/responses.ts'
import type { WebhookSecrets } from '../../lib/webhooks/signature.ts'
import { webhookView } from '../../lib/webhooks/webhook.ts'
import type { WebhookStore } from '../../lib/webhooks/webhook-store.ts'

const Body = z.object(
  {
    name: identity.name,
    url: webhookFields.url,
    events: webhookFields.events,
    enabled: webhookFields.enabled.default(true),
  },
  notAnObject,
)

export const documentation = () =>
  describeRoute({
    summary: 'Makes a webhook',
    description: 'Messages are signed as Standard Webhooks defines it.',
    body: {
      schema: Body,
      required: true,
      examples: {
        alerts: {
          name: 'On-call team',
          url: 'https://hooks.example.com/iotflow',
          events: ['alert.*', 'device.offline'],
        },
      },
    },
    fieldDescriptions: webhookFields.descriptions,
    responses: {
      201: json(
        'The webhook and its secret, which is shown here only.',
        z.strictObject({
          status: fields.success,
          message: z.string(),
          webhook: responses.webhook,
          secret: responses.secret,
        }),
      ),
    },
    errors: [409],
  })

export const route = defineRoute({
  addresses: ['POST /api/v1/admin/webhooks'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  webhooks: Pick<WebhookStore, 'create'>
  secrets: () => Pick<WebhookSecrets, 'of'>
  checkUrl: UrlCheck
}

export const createWebhook = ({ webhooks, secrets, checkUrl, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const body = await jsonBody(c, Body)
    const signing = secrets()
    await checkUrl(body.url)
    const webhook = await webhooks.create(body)
    return reply(c, 201, {
      status: 'success',
      message: 'Webhook created successfully',
      webhook: webhookView(webhook),
      secret: signing.of(webhook),
    })
  })

export const handler = serve(createWebhook, {
  webhooks: runtime.webhooks,
  secrets: runtime.webhookSecrets,
  checkUrl: runtime.webhookUrlCheck,
})
