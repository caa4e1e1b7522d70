/** A number that takes time to count: counted again now and then, while somebody asks for it. */
import { setTimeout as sleep } from 'node:timers/promises'

export interface RefreshedOptions<T> {
  count(): Promise<T>
  /** Shortest time between two counts, ms. */
  readonly everyMs: number
  /**
   * Whether the process runs between requests. Then a caller waits for a new count only a moment and gets the last one otherwise,
   * and counts that take long come seldom.
   */
  readonly background: boolean
}

/** Longest wait for a new count where there is an old one, ms. */
const patienceMs = 300
/** Share of the time in which counts may run. */
const share = 0.01

export class Refreshed<T> {
  readonly #options: RefreshedOptions<T>
  #begun: { readonly at: number; readonly count: Promise<T>; ended: boolean } | undefined
  #last: { readonly value: T; readonly tookMs: number } | undefined
  #intervalMs: number

  constructor(options: RefreshedOptions<T>) {
    this.#options = options
    this.#intervalMs = options.everyMs
  }

  /** The newest count; waits for the first one. Rejects as that does. */
  async read(): Promise<T> {
    return (await this.#readFor(this.#last === undefined ? undefined : patienceMs)) as T
  }

  /** The newest count; undefined while the first one takes long. Rejects as the count does. */
  async readSoon(): Promise<T | undefined> {
    return this.#readFor(patienceMs)
  }

  async #readFor(waitMs: number | undefined): Promise<T | undefined> {
    const counting = this.#refresh()
    if (!this.#options.background || waitMs === undefined) return counting
    const ending = new AbortController()
    try {
      const late = sleep(waitMs, undefined, { signal: ending.signal }).catch(() => undefined)
      return await Promise.race([counting, late.then(() => this.#last?.value)])
    } finally {
      ending.abort()
    }
  }

  /** The count that is under way, or new enough; a failed one counts as new, so that a store that is down is asked seldom. */
  #refresh(): Promise<T> {
    const at = Date.now()
    if (this.#begun !== undefined && (!this.#begun.ended || Math.abs(at - this.#begun.at) < this.#intervalMs))
      return this.#begun.count
    const began = performance.now()
    const count = this.#options.count().then((value) => {
      const tookMs = performance.now() - began
      // The lesser of two: one count may have waited for other work, and the first one for the process to start.
      const costMs = Math.min(tookMs, this.#last?.tookMs ?? 0)
      this.#last = { value, tookMs }
      if (this.#options.background) this.#intervalMs = Math.max(this.#options.everyMs, costMs / share)
      return value
    })
    const begun = { at, count, ended: false }
    const end = () => {
      begun.ended = true
    }
    // Somebody who does not wait for it must not make it an unhandled rejection.
    count.then(end, end)
    this.#begun = begun
    return count
  }
}
