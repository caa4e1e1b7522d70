/** Webhooks in the tests of their functions: calls by short names, and a receiver on loopback that the settings allow. */
import { afterAll, afterEach, beforeAll } from 'vitest'
import { webhookQueue } from '../../../lib/runtime-webhooks.ts'
import type { Answer, CallOptions, TestFunctions } from '../../support/functions.ts'
import { openFunctions } from '../../support/functions.ts'
import { type Receiver, startReceiver } from '../../support/webhook-receiver.ts'

export const webhookSettings = {
  WEBHOOK_SIGNING_KEY: 'signing-key-of-the-tests-0123456789',
  WEBHOOK_PRIVATE_ADDRESSES: '127.0.0.1',
} as const

const address = '/api/v1/admin/webhooks'

export interface WebhookCalls {
  readonly functions: TestFunctions
  readonly receiver: Receiver
  create(body?: object, options?: CallOptions): Promise<Answer>
  list(query?: string, options?: CallOptions): Promise<Answer>
  show(id: number | string, options?: CallOptions): Promise<Answer>
  update(id: number | string, body: unknown, options?: CallOptions): Promise<Answer>
  remove(id: number | string, options?: CallOptions): Promise<Answer>
  rotate(id: number | string, body?: unknown, options?: CallOptions): Promise<Answer>
  test(id: number | string, options?: CallOptions): Promise<Answer>
  deliveries(id: number | string, query?: string, options?: CallOptions): Promise<Answer>
  delivery(id: number | string, deliveryId: number | string, options?: CallOptions): Promise<Answer>
  retry(id: number | string, deliveryId: number | string, options?: CallOptions): Promise<Answer>
  /** Makes deliveries of what has happened, and sends nothing. */
  expand(): Promise<void>
  /** Sends what is due, as the schedule does. */
  sweep(): Promise<unknown>
}

const admin: CallOptions = { admin: true }

/** Opens the functions and a receiver for the tests of a file. */
export function withWebhooks(settings: Readonly<Record<string, string>> = {}): WebhookCalls {
  let functions: TestFunctions
  let receiver: Receiver
  beforeAll(async () => {
    functions = await openFunctions({ ...webhookSettings, ...settings })
    receiver = await startReceiver()
  })
  afterEach(() => {
    receiver.answer(204)
    receiver.received.length = 0
  })
  afterAll(async () => {
    await functions.close()
    await receiver.close()
  })
  return {
    get functions() {
      return functions
    },
    get receiver() {
      return receiver
    },
    create: (body = {}, options = admin) =>
      functions.call('admin-create-webhook', 'POST', address, {
        ...options,
        body: { name: 'test', url: receiver.url, events: ['*'], ...body },
      }),
    list: (query = '', options = admin) =>
      functions.call('admin-webhooks', 'GET', `${address}${query}`, options),
    show: (id, options = admin) => functions.call('admin-show-webhook', 'GET', `${address}/${id}`, options),
    update: (id, body, options = admin) =>
      functions.call('admin-update-webhook', 'PUT', `${address}/${id}`, { ...options, body }),
    remove: (id, options = admin) =>
      functions.call('admin-delete-webhook', 'DELETE', `${address}/${id}`, options),
    rotate: (id, body, options = admin) =>
      functions.call('admin-rotate-webhook-secret', 'POST', `${address}/${id}/rotate-secret`, {
        ...options,
        ...(body === undefined ? {} : { body }),
      }),
    test: (id, options = admin) =>
      functions.call('admin-test-webhook', 'POST', `${address}/${id}/test`, options),
    deliveries: (id, query = '', options = admin) =>
      functions.call('admin-webhook-deliveries', 'GET', `${address}/${id}/deliveries${query}`, options),
    delivery: (id, deliveryId, options = admin) =>
      functions.call(
        'admin-show-webhook-delivery',
        'GET',
        `${address}/${id}/deliveries/${deliveryId}`,
        options,
      ),
    retry: (id, deliveryId, options = admin) =>
      functions.call(
        'admin-retry-webhook-delivery',
        'POST',
        `${address}/${id}/deliveries/${deliveryId}/retry`,
        options,
      ),
    expand: async () => (await webhookQueue()).takeOutbox(),
    sweep: () => functions.invoke('webhooks-sweep', {}),
  }
}

/** What is answered for ids that no webhook has. */
export const unknownIds = ['999999', 'abc', '0', '-1', '1.5', '9999999999999999'] as const
