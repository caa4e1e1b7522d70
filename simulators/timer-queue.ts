/** One timer for all devices: thousands of intervals would cost more than the work that they start. */
import TinyQueue from 'tinyqueue'

interface Entry {
  readonly dueMs: number
  run: (() => void) | undefined
}

/** Ends the waiting; the function is not called any more. */
export type Cancel = () => void

/** A loop that is late yields to sockets after this time, ms. */
const longestTurnMs = 20
/** Node's timers take no longer time, ms. */
const longestSleepMs = 2 ** 31 - 1

/** Times are those of `performance.now()`, ms. */
export class TimerQueue {
  readonly #queue = new TinyQueue<Entry>([], (one, other) => one.dueMs - other.dueMs)
  readonly #pauses = new Set<() => void>()
  #timer: NodeJS.Timeout | undefined
  #wakesAt = Number.POSITIVE_INFINITY

  now(): number {
    return performance.now()
  }

  /** Calls `run` once, at `dueMs` or soon after. */
  at(dueMs: number, run: () => void): Cancel {
    const entry: Entry = { dueMs, run }
    this.#queue.push(entry)
    this.#sleep()
    return () => {
      entry.run = undefined
    }
  }

  /** Resolves after `ms`, or as soon as `endPauses` is called. */
  pause(ms: number): Promise<void> {
    if (ms <= 0) return Promise.resolve()
    return new Promise((resolve) => {
      const end = () => {
        cancel()
        this.#pauses.delete(end)
        resolve()
      }
      const cancel = this.at(this.now() + ms, end)
      this.#pauses.add(end)
    })
  }

  /** Ends every pause, so that those who wait look again whether they may go on. */
  endPauses(): void {
    for (const end of [...this.#pauses]) end()
  }

  /** Forgets everything that is due, and ends every pause. */
  stop(): void {
    clearTimeout(this.#timer)
    this.endPauses()
    this.#queue.data = []
    this.#queue.length = 0
    this.#wakesAt = Number.POSITIVE_INFINITY
  }

  #sleep(): void {
    const next = this.#queue.peek()
    if (next === undefined || next.dueMs >= this.#wakesAt) return
    clearTimeout(this.#timer)
    this.#wakesAt = next.dueMs
    this.#timer = setTimeout(this.#wake, Math.min(longestSleepMs, Math.max(0, next.dueMs - this.now())))
  }

  #wake = (): void => {
    const began = this.now()
    this.#wakesAt = Number.POSITIVE_INFINITY
    for (let next = this.#queue.peek(); next !== undefined; next = this.#queue.peek()) {
      const now = this.now()
      if (next.dueMs > now || now - began > longestTurnMs) break
      this.#queue.pop()
      next.run?.()
    }
    this.#sleep()
  }
}
