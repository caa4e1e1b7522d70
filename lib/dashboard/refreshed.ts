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
/** `readSoon` does not give a count that is older, unless counts take so long that they come more seldom, ms. */
const oldestMs = 30_000
/** Share of the time in which counts may run. */
const share = 0.01

export class Refreshed<T> {
  readonly #options: RefreshedOptions<T>
  #begun: { readonly at: number; readonly count: Promise<T>; ended: boolean } | undefined
  #last: { readonly value: T; readonly tookMs: number; readonly at: number } | undefined
  #intervalMs: number

  constructor(options: RefreshedOptions<T>) {
    this.#options = options
    this.#intervalMs = options.everyMs
  }

  /** The newest count; waits for the first one. Rejects as that does. */
  async read(): Promise<T> {
    const last = this.#last
    return (await this.#newest(last, last === undefined)) as T
  }

  /** The newest count; undefined while one takes long and the last one is old. Rejects as the count does. */
  async readSoon(): Promise<T | undefined> {
    return this.#newest(
      this.#ageMs < Math.max(oldestMs, 2 * this.#intervalMs) ? this.#last : undefined,
      false,
    )
  }

  get #ageMs(): number {
    return this.#last === undefined ? Number.POSITIVE_INFINITY : Math.abs(Date.now() - this.#last.at)
  }

  /** Nobody waits for a count that takes long while the last one is not much older than others are. */
  get #isLastGood(): boolean {
    const { everyMs, background } = this.#options
    return background && this.#intervalMs > everyMs && this.#ageMs < 2 * this.#intervalMs
  }

  async #newest(last: { readonly value: T } | undefined, waits: boolean): Promise<T | undefined> {
    const counting = this.#refresh()
    if (this.#isLastGood) return last?.value
    if (!this.#options.background || waits) return counting
    const ending = new AbortController()
    try {
      const late = sleep(patienceMs, undefined, { signal: ending.signal }).catch(() => undefined)
      return await Promise.race([counting, late.then(() => last?.value)])
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
      this.#last = { value, tookMs, at }
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
