/** The part of the composition root that tells webhooks of events. */
import { closers, config, log, once, overrides } from './runtime-base.ts'
import { alerts } from './runtime-embedded.ts'
import { registry } from './runtime-registry.ts'
import { AddressRules, checkUrl, resolveBySystem, type UrlCheck } from './webhooks/address-rules.ts'
import { DeliveryLog } from './webhooks/delivery-log.ts'
import { DeliveryQueue } from './webhooks/delivery-queue.ts'
import { Dispatcher, type EventSource } from './webhooks/dispatcher.ts'
import { Sender } from './webhooks/sender.ts'
import { WebhookSecrets } from './webhooks/signature.ts'
import { TestCall } from './webhooks/test-call.ts'
import { QueueWaker, type Waker } from './webhooks/waker.ts'
import { WebhookStore } from './webhooks/webhook-store.ts'

export function webhooks(): Promise<WebhookStore> {
  return once('webhooks', async () => new WebhookStore((await registry()).db))
}

function addressRules(): AddressRules {
  return once('webhookAddresses', () => new AddressRules(config().webhooks.privateAddresses))
}

/** Refuses addresses that may not be called. */
export function webhookUrlCheck(): UrlCheck {
  return (url) => checkUrl(url, addressRules(), resolveBySystem)
}

export function webhookDeliveries(): Promise<DeliveryLog> {
  return once('webhookDeliveries', async () => new DeliveryLog((await registry()).db))
}

export function webhookQueue(): Promise<DeliveryQueue> {
  return once('webhookQueue', async () => new DeliveryQueue((await registry()).db))
}

/** A getter, because a server without the key still shows and changes webhooks. @throws {AppError} WEBHOOKS_DISABLED. */
export function webhookSecrets(): () => WebhookSecrets {
  return () => once('webhookSecrets', () => new WebhookSecrets(config().webhooks.signingKey))
}

function sender(): Sender {
  return once('webhookSender', () => new Sender({ rules: addressRules(), resolve: resolveBySystem }))
}

export function webhookTestCall(): Promise<TestCall> {
  return once('webhookTestCall', async () => {
    const secrets = webhookSecrets()
    return new TestCall({
      deliveries: await webhookDeliveries(),
      queue: await webhookQueue(),
      sender: sender(),
      secrets,
    })
  })
}

/** Transitions of alerts, which happen in the database of telemetry. */
export function webhookEventSource(): Promise<EventSource> {
  return once('webhookEventSource', async (): Promise<EventSource> => {
    const service = await alerts()
    return {
      take: async (limit) =>
        (await service.events(limit)).map(({ seq, id, ...event }) => ({ ...event, eventId: id, place: seq })),
      done: (places) => service.deleteEvents(places),
    }
  })
}

/** What sends; undefined where there is no key to sign with. In a process that runs between requests it works by itself. */
export function webhookDispatcher(): Promise<Dispatcher | undefined> {
  return once('webhookDispatcher', async () => {
    const { webhooks: settings, database } = config()
    if (settings.signingKey === undefined) return undefined
    const queue = await webhookQueue()
    const value = new Dispatcher({
      queue,
      sender: sender(),
      secrets: webhookSecrets()(),
      source: await webhookEventSource(),
      log: log(),
      count: overrides.count,
      tally: overrides.metrics?.webhooks,
    })
    closers.push(() => value.close())
    if (overrides.longRunning) {
      // A file belongs to this process, so that whoever was sending has ended.
      if (database.url.startsWith('file:')) await queue.endClaims()
      value.start()
    }
    return value
  })
}

/** Starts the delivery of what has just happened, where a queue starts it; undefined elsewhere. */
export function webhookWaker(): Promise<Waker | undefined> {
  return once('webhookWaker', async () => {
    const { queue } = config().webhooks
    return queue && new QueueWaker({ ...queue, db: (await registry()).db, log: log() })
  })
}
