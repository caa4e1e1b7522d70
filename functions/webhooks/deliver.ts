/** Called by the queue of webhooks when something has happened: sends what is due. */
import type { SQSEvent } from 'aws-lambda'
import type { Log } from '../../lib/log.ts'
import * as runtime from '../../lib/runtime-webhooks.ts'
import { serveEvents } from '../../lib/serve.ts'
import type { Dispatcher } from '../../lib/webhooks/dispatcher.ts'
import type { Waker } from '../../lib/webhooks/waker.ts'

/** Below the time limit of the function, with the last request, ms. */
const workMs = 15_000
/** What is due later is found by the schedule, ms. */
const soonMs = 60_000

interface Deps {
  log: Log
  /** Undefined where there is no key to sign with. */
  dispatcher: Pick<Dispatcher, 'run'> | undefined
  waker: Waker | undefined
}

export const deliverWebhooks =
  ({ dispatcher, waker }: Deps) =>
  async (_event: SQSEvent): Promise<void> => {
    const dueMs = await dispatcher?.run(workMs)
    if (dueMs !== undefined && dueMs < soonMs) await waker?.wakeIn(dueMs)
  }

export const handler = serveEvents(deliverWebhooks, {
  dispatcher: runtime.webhookDispatcher,
  waker: runtime.webhookWaker,
})
