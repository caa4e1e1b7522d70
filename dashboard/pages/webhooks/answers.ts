/** Answers of the API that the pages of webhooks show. */
import type { documentation as createWebhook } from '../../../functions/admin/create-webhook.ts'
import type { documentation as retryDelivery } from '../../../functions/admin/retry-webhook-delivery.ts'
import type { documentation as rotateSecret } from '../../../functions/admin/rotate-webhook-secret.ts'
import type { documentation as showWebhook } from '../../../functions/admin/show-webhook.ts'
import type { documentation as showDelivery } from '../../../functions/admin/show-webhook-delivery.ts'
import type { documentation as testWebhook } from '../../../functions/admin/test-webhook.ts'
import type { documentation as listDeliveries } from '../../../functions/admin/webhook-deliveries.ts'
import type { documentation as listWebhooks } from '../../../functions/admin/webhooks.ts'
import type { Answer } from '../../answers.ts'

export type WebhookList = Answer<typeof listWebhooks>
export type ShownWebhook = Answer<typeof showWebhook>
export type Webhook = WebhookList['webhooks'][number]
export type NewWebhook = Answer<typeof createWebhook, 201>
export type NewSecretAnswer = Answer<typeof rotateSecret>
export type TestAnswer = Answer<typeof testWebhook>
export type DeliveryList = Answer<typeof listDeliveries>
export type Delivery = DeliveryList['deliveries'][number]
export type ShownDelivery = Answer<typeof showDelivery>
export type Attempt = ShownDelivery['delivery']['attempts'][number]
export type RetriedDelivery = Answer<typeof retryDelivery, 202>

export const deliveryStatuses = [
  'pending',
  'delivered',
  'failed',
  'cancelled',
] as const satisfies Delivery['status'][]
