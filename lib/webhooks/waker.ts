/** Messages of an SQS queue that start the function which sends to webhooks. They say nothing: the registry has the events. */
import { sql } from 'drizzle-orm'
import { type AwsAccess, createAwsCall } from '../lambda/aws.ts'
import type { Log } from '../log.ts'
import { memoizeFor } from '../memoize-for.ts'
import type { RegistryDb } from '../registry/db.ts'

export interface Waker {
  /** Starts the delivery of what was written before this call. It never rejects: a schedule finds what nobody was told of. */
  wake(): Promise<void>
  /** Starts it after some time, ms; SQS takes up to 15 minutes. */
  wakeIn(ms: number): Promise<void>
}

export interface QueueWakerOptions extends AwsAccess {
  /** URL of the queue. */
  readonly url: string
  readonly db: RegistryDb
  readonly log: Log
}

/** Limit of one message, ms: an answer to a device waits for it. */
const timeoutMs = 1500
/** A message is seen a second after it was sent, so that it stands for all that happens until then. */
const delayS = 1
const longestDelayS = 900
/** Whether any webhook is enabled is asked so often, ms. */
const askEveryMs = 30_000

export class QueueWaker implements Waker {
  readonly #url: string
  readonly #log: Log
  readonly #call: ReturnType<typeof createAwsCall>
  readonly #isAnyEnabled: () => Promise<boolean>
  #sentAt = Number.NEGATIVE_INFINITY

  constructor({ url, db, log, ...access }: QueueWakerOptions) {
    this.#url = url
    this.#log = log
    this.#call = createAwsCall(access, {
      service: 'sqs',
      endpoint: new URL('/', url).href,
      protocol: '1.0',
      timeoutMs,
    })
    this.#isAnyEnabled = memoizeFor(askEveryMs, async () => {
      const rows = await db.all(sql`select 1 from webhooks where enabled = 1 limit 1`)
      return rows.length > 0
    })
  }

  async wake(): Promise<void> {
    const now = performance.now()
    if (now - this.#sentAt < delayS * 1000) return
    await this.#trying(async () => {
      if (!(await this.#isAnyEnabled())) return
      this.#sentAt = performance.now()
      await this.#send(delayS)
    })
  }

  async wakeIn(ms: number): Promise<void> {
    await this.#trying(() => this.#send(Math.min(longestDelayS, Math.max(delayS, Math.ceil(ms / 1000)))))
  }

  async #send(seconds: number): Promise<void> {
    const message = { QueueUrl: this.#url, MessageBody: '{}', DelaySeconds: seconds }
    await this.#call('AmazonSQS.SendMessage', message)
  }

  async #trying(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      this.#log.warn('the delivery of webhooks could not be started: the schedule does it', { error })
    }
  }
}
