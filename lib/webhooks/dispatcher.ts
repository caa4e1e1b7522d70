/** Sends what is due to webhooks: in a process that runs between requests all the time, elsewhere when it is called. */
import { setMaxListeners } from 'node:events'
import { setImmediate as immediate, setTimeout as sleep } from 'node:timers/promises'
import type { Count } from '../counts.ts'
import type { Log } from '../log.ts'
import type { Tally } from '../tally.ts'
import { bodyOf, type ClaimedDelivery, type WebhookEvent } from './delivery.ts'
import type { DeliveryQueue, Outcome } from './delivery-queue.ts'
import type { Attempt, Sender } from './sender.ts'
import type { WebhookSecrets } from './signature.ts'

/** An event of a source. */
export interface SourceEvent extends WebhookEvent {
  /** Its place in the source. */
  readonly place: number
}

/** Events that happen outside of the registry, kept there until they are taken. */
export interface EventSource {
  /** The oldest ones. */
  take(limit: number): Promise<readonly SourceEvent[]>
  /** Forgets those that were taken. */
  done(places: readonly number[]): Promise<void>
}

export interface DispatcherOptions {
  readonly queue: DeliveryQueue
  readonly sender: Pick<Sender, 'send'>
  readonly secrets: Pick<WebhookSecrets, 'sign'>
  readonly source?: EventSource | undefined
  readonly log: Log
  readonly count?: Count | undefined
  readonly tally?: Tally<Outcome> | undefined
  /** Milliseconds since the epoch. */
  readonly now?: () => number
}

/** Requests at a time, to all webhooks. */
const maxUnderWay = 64
/** A process that runs looks for new events so often, ms. */
const lookEveryMs = 1000
/** Time for requests that are under way when the process ends, ms. */
const closeWaitMs = 1500
/** Each of them may become a delivery of a hundred webhooks, in one transaction. */
const eventsAtOnce = 100
/** Another process may be sending what is due, ms. */
const shortestWaitMs = 250

/** Brings events of a source into the registry. A source that has forgotten nothing yet gives them again: they are known. */
export async function moveEvents(source: EventSource, queue: Pick<DeliveryQueue, 'add'>): Promise<number> {
  for (let moved = 0; ; ) {
    const events = await source.take(eventsAtOnce)
    if (events.length === 0) return moved
    await queue.add(events)
    await source.done(events.map(({ place }) => place))
    moved += events.length
    if (events.length < eventsAtOnce) return moved
  }
}

/** Signs and sends one delivery. @returns undefined when `signal` has ended it. */
export function sendDelivery(
  { event, webhook }: ClaimedDelivery,
  { sender, secrets, now }: Pick<DispatcherOptions, 'sender' | 'secrets'> & { readonly now: () => number },
  signal?: AbortSignal,
): Promise<Attempt | undefined> {
  const body = bodyOf(event)
  const headers = secrets.sign(webhook, { id: event.id, body }, now())
  return sender.send({ url: webhook.url, body, headers }, signal)
}

export class Dispatcher {
  readonly #options: DispatcherOptions & { readonly now: () => number }
  readonly #underWay = new Set<Promise<void>>()
  readonly #closing = new AbortController()
  /** Ends requests that are under way. */
  readonly #ending = new AbortController()
  #waking = new AbortController()
  #running: Promise<void> | undefined

  constructor(options: DispatcherOptions) {
    this.#options = { now: Date.now, ...options }
    // Each request under way listens to it.
    setMaxListeners(maxUnderWay + 1, this.#ending.signal)
  }

  /** Sends on, in a process that runs between requests, until {@link close}. */
  start(): void {
    this.#running ??= this.#run()
  }

  /** Looks at once whether there is something to send, where {@link start} was called. */
  wake(): void {
    this.#waking.abort()
  }

  /**
   * Sends what is due, also what becomes due meanwhile, for at most `ms` and the requests that are under way then. Where
   * {@link start} was called, that does it.
   * @returns ms until there may be something to send; undefined when nothing waits.
   */
  async run(ms: number): Promise<number | undefined> {
    const { queue, source } = this.#options
    if (this.#running !== undefined) {
      this.wake()
      return undefined
    }
    const until = performance.now() + ms
    if (source !== undefined) await moveEvents(source, queue)
    for (;;) {
      const leftMs = until - performance.now()
      if (leftMs > 0 && !this.#closing.signal.aborted) await this.#claim()
      if (this.#underWay.size > 0) {
        await this.#oneIsOver()
        continue
      }
      const dueMs = await queue.nextDueMs()
      if (dueMs === undefined || dueMs >= leftMs || this.#closing.signal.aborted) return dueMs
      await sleep(Math.max(dueMs, shortestWaitMs), undefined, { signal: this.#closing.signal }).catch(
        () => undefined,
      )
    }
  }

  /** Claims nothing more. What is under way gets a moment; what then has no answer is sent again later. */
  async close(): Promise<void> {
    this.#closing.abort()
    this.#waking.abort()
    await this.#running
    await Promise.race([
      Promise.all(this.#underWay),
      sleep(closeWaitMs, undefined, { signal: this.#ending.signal }),
    ])
    this.#ending.abort()
    await Promise.all(this.#underWay)
  }

  async #run(): Promise<void> {
    const { log, queue, source } = this.#options
    let lookAt = 0
    while (!this.#closing.signal.aborted) {
      this.#waking = new AbortController()
      const { signal } = this.#waking
      try {
        if (source !== undefined && performance.now() >= lookAt) {
          lookAt = performance.now() + lookEveryMs
          await moveEvents(source, queue)
        }
        await this.#claim()
      } catch (error) {
        log.warn('webhooks could not be looked after', { error })
      }
      const pause = sleep(lookEveryMs, undefined, { signal }).catch(() => undefined)
      await Promise.race([this.#oneIsOver(), pause])
      this.#waking.abort()
    }
  }

  /** Also lets others end that have got their answers at the same time: their places are taken by one claim. */
  async #oneIsOver(): Promise<void> {
    await Promise.race(this.#underWay)
    await immediate()
  }

  async #claim(): Promise<void> {
    const claimed = await this.#options.queue.claim(maxUnderWay - this.#underWay.size)
    for (const delivery of claimed) {
      const sending: Promise<void> = this.#send(delivery).finally(() => this.#underWay.delete(sending))
      this.#underWay.add(sending)
    }
  }

  /** Never rejects: a delivery that could not be recorded is sent again when its claim ends. */
  async #send(delivery: ClaimedDelivery): Promise<void> {
    const { queue, log } = this.#options
    try {
      const attempt = await sendDelivery(delivery, this.#options, this.#ending.signal)
      if (attempt === undefined) return await queue.release(delivery)
      this.#note(delivery, attempt, await queue.record(delivery, attempt))
    } catch (error) {
      log.warn('a webhook delivery could not be recorded', { delivery_id: delivery.id, error })
    }
  }

  #note({ id, webhook }: ClaimedDelivery, { error }: Attempt, outcome: Outcome): void {
    const { log, count, tally } = this.#options
    tally?.add(outcome)
    count?.(outcome === 'delivered' ? 'WebhooksDelivered' : 'WebhookAttemptsFailed')
    if (outcome === 'failed' || outcome === 'gone') count?.('WebhooksFailed')
    const about = { webhook_id: webhook.id, delivery_id: id, reason: error }
    if (outcome === 'failed') log.warn('a webhook delivery is given up', about)
    if (outcome === 'gone') log.warn('a webhook is disabled: its receiver is gone', about)
  }
}
