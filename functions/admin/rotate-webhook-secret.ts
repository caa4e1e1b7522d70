/** POST /api/v1/admin/webhooks/{id}/rotate-secret: begins a new secret, beside the one before for a while. */
import * as z from 'zod'
import { notAnObject } from '../../lib/devices/fields.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { idOf, optionalBody } from '../../lib/http/validate.ts'
import { formatMillis } from '../../lib/iso-time.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime-webhooks.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'
import * as webhookFields from '../../lib/webhooks/fields.ts'
import * as responses from '../../lib/webhooks/responses.ts'
import type { WebhookSecrets } from '../../lib/webhooks/signature.ts'
import { webhookView } from '../../lib/webhooks/webhook.ts'
import type { WebhookStore } from '../../lib/webhooks/webhook-store.ts'

const Body = z.object({ overlap_s: webhookFields.overlap }, notAnObject)

export const documentation = () =>
  describeRoute({
    summary: 'Gives a webhook a new secret',
    body: { schema: Body, required: false, examples: { 'one hour': { overlap_s: 3600 } } },
    fieldDescriptions: {
      overlap_s: 'Seconds that messages have a signature by the secret before, too.',
    },
    responses: {
      200: json(
        'The new secret, which is shown here only.',
        z.strictObject({
          status: fields.success,
          message: z.string(),
          webhook: responses.webhook,
          secret: responses.secret,
          previous_secret_until: responses.previousSecretUntil,
        }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['POST /api/v1/admin/webhooks/:id/rotate-secret'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  webhooks: Pick<WebhookStore, 'rotateSecret'>
  secrets: () => Pick<WebhookSecrets, 'of'>
}

export const rotateWebhookSecret = ({ webhooks, secrets, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const id = idOf(c, 'webhook')
    const { overlap_s: overlapS } = await optionalBody(c, Body)
    const signing = secrets()
    const webhook = await webhooks.rotateSecret(id, overlapS * 1000)
    const until = webhook.previousSecretUntil
    return reply(c, 200, {
      status: 'success',
      message: 'Secret rotated successfully',
      webhook: webhookView(webhook),
      secret: signing.of(webhook),
      previous_secret_until: until === null ? null : formatMillis(until),
    })
  })

export const handler = serve(rotateWebhookSecret, {
  webhooks: runtime.webhooks,
  secrets: runtime.webhookSecrets,
})
