/** Changes of webhooks. */
import { post, put, remove } from '../../api.ts'
import type { NewSecretAnswer, NewWebhook, RetriedDelivery, TestAnswer, Webhook } from './answers.ts'

export interface WebhookBody {
  readonly name: string
  readonly url: string
  readonly events: readonly string[]
}

export const createWebhook = (body: WebhookBody) => post<NewWebhook>('admin/webhooks', body)

export const updateWebhook = (id: number, changes: Partial<WebhookBody & Pick<Webhook, 'enabled'>>) =>
  put<unknown>(`admin/webhooks/${id}`, changes)

export const deleteWebhook = (id: number) => remove<unknown>(`admin/webhooks/${id}`)

/** @param overlapS seconds in which messages are signed with both secrets. */
export const rotateSecret = (id: number, overlapS: number) =>
  post<NewSecretAnswer>(`admin/webhooks/${id}/rotate-secret`, { overlap_s: overlapS })

export const testWebhook = (id: number) => post<TestAnswer>(`admin/webhooks/${id}/test`)

export const retryDelivery = (id: number, deliveryId: number) =>
  post<RetriedDelivery>(`admin/webhooks/${id}/deliveries/${deliveryId}/retry`)
