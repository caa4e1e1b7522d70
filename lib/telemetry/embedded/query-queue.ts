/**
 * Hands queries to a thread one at a time, so that those that wait can be refused when the database closes. The thread starts
 * with the first query, and anew after it has died.
 */

import { isThreadFault, StoreFault } from './connection.ts'
import type { RequestPort, StoreRequest } from './requests.ts'

interface Waiting {
  readonly request: StoreRequest
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
}

export class QueryQueue {
  readonly #start: () => Promise<RequestPort>
  #thread: Promise<RequestPort> | undefined
  #waiting: Waiting[] = []
  #isRunning = false
  #couldNotStart = false
  #closed = false

  constructor(start: () => Promise<RequestPort>) {
    this.#start = start
  }

  /** @throws {StoreFault} also when the queue closes before the turn of the query. */
  ask(request: StoreRequest): Promise<unknown> {
    if (this.#closed) return Promise.reject(new StoreFault('CLOSED'))
    return new Promise((resolve, reject) => {
      this.#waiting.push({ request, resolve, reject })
      if (!this.#isRunning) void this.#answerAll()
    })
  }

  /** Whether the last try to start the thread failed. */
  get couldNotStart(): boolean {
    return this.#couldNotStart
  }

  /** Starts the thread when there is none. @throws {StoreFault} when it cannot start. */
  async start(): Promise<RequestPort> {
    if (this.#closed) throw new StoreFault('CLOSED')
    const thread = this.#thread ?? this.#start()
    this.#thread = thread
    try {
      const started = await thread
      this.#couldNotStart = false
      return started
    } catch (error) {
      this.#couldNotStart = true
      if (this.#thread === thread) this.#thread = undefined
      throw error
    }
  }

  /** Refuses the queries that wait, answers the one that runs, and ends the thread. */
  async close(): Promise<void> {
    this.#closed = true
    const refused = this.#waiting
    this.#waiting = []
    for (const { reject } of refused) reject(new StoreFault('CLOSED'))
    const thread = await this.#thread?.catch(() => undefined)
    await thread?.ask({ change: 'close', args: {} }).catch(() => undefined)
    await thread?.ended
  }

  async #answerAll(): Promise<void> {
    this.#isRunning = true
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      try {
        const thread = await this.start()
        next.resolve(await thread.ask(next.request))
      } catch (error) {
        if (isThreadFault(error)) this.#thread = undefined
        next.reject(error)
      }
    }
    this.#isRunning = false
  }
}
