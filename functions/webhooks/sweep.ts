/** Called by a schedule: brings events to webhooks, sends what is due, and gives up and deletes what is too old. */
import type { Log } from '../../lib/log.ts'
import type { Leases } from '../../lib/registry/leases.ts'
import { leases } from '../../lib/runtime.ts'
import * as runtime from '../../lib/runtime-webhooks.ts'
import { serveEvents } from '../../lib/serve.ts'
import type { DeliveryQueue } from '../../lib/webhooks/delivery-queue.ts'
import { type Dispatcher, type EventSource, moveEvents } from '../../lib/webhooks/dispatcher.ts'

const lease = 'webhooks-sweep'
/** As long as the function may take, ms. */
const leaseMs = 58_000
/** Below that, with the last request, ms. */
const workMs = 40_000

interface Deps {
  log: Log
  leases: Leases
  queue: Pick<DeliveryQueue, 'add' | 'correctTimes' | 'giveUp' | 'prune' | 'takeOutbox'>
  source: EventSource
  /** Undefined where there is no key to sign with. */
  dispatcher: Pick<Dispatcher, 'run'> | undefined
}

/** @returns how many deliveries were given up; undefined when another process is at it. */
export const sweepWebhooks =
  ({ log, leases: taken, queue, source, dispatcher }: Deps) =>
  async (): Promise<number | undefined> => {
    if (!(await taken.take(lease, leaseMs))) return undefined
    try {
      // Also without a key: what nobody takes would grow.
      await queue.takeOutbox()
      await moveEvents(source, queue)
      await queue.correctTimes()
      const givenUp = await queue.giveUp()
      if (givenUp > 0) log.warn('webhook deliveries are given up: they are a day old', { count: givenUp })
      await queue.prune()
      await dispatcher?.run(workMs)
      return givenUp
    } finally {
      await taken.release(lease)
    }
  }

export const handler = serveEvents(sweepWebhooks, {
  leases,
  queue: runtime.webhookQueue,
  source: runtime.webhookEventSource,
  dispatcher: runtime.webhookDispatcher,
})
