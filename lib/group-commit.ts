/** Group commit: what comes while one write is under way is written together by the next one. */
import { setTimeout as sleep } from 'node:timers/promises'
import { AppError } from './errors.ts'

export interface GroupCommitOptions<Value, Result> {
  /** Writes a group. @returns one result per value, in order. */
  write(group: readonly Value[]): Promise<readonly Result[]>
  /** Values of one write: on a file it runs on the calling thread, and requests wait for it. */
  readonly maxGroup: number
  /** Most values that may wait; beyond it a value is refused. */
  readonly maxWaiting: number
  /** Time from the end of a write to the next one, ms: what comes meanwhile is written together. 0 by default. */
  readonly restMs?: number | undefined
}

interface Waiting<Value, Result> {
  readonly value: Value
  resolve(result: Result): void
  reject(error: unknown): void
}

export class GroupCommit<Value, Result> {
  readonly #options: GroupCommitOptions<Value, Result>
  #waiting: Waiting<Value, Result>[] = []
  #writing: Promise<void> | undefined
  #writtenAt = Number.NEGATIVE_INFINITY

  constructor(options: GroupCommitOptions<Value, Result>) {
    this.#options = options
  }

  /** Resolves with the result of its write. @throws {AppError} the write's error, or UNAVAILABLE when too many values wait. */
  add(value: Value): Promise<Result> {
    if (this.#waiting.length >= this.#options.maxWaiting)
      return Promise.reject(new AppError('UNAVAILABLE', 'Too much waits to be written.', { retryAfterS: 2 }))
    return new Promise((resolve, reject) => {
      this.#waiting.push({ value, resolve, reject })
      this.#writing ??= this.#writeAll()
    })
  }

  /** Resolves when all that was added is written. */
  async settled(): Promise<void> {
    await this.#writing
  }

  async #writeAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      // Everything that this turn of the event loop brings belongs to the group.
      await new Promise(setImmediate)
      const left = this.#writtenAt + (this.#options.restMs ?? 0) - performance.now()
      if (left > 0) await sleep(left)
      const group = this.#waiting.splice(0, this.#options.maxGroup)
      try {
        const results = await this.#options.write(group.map(({ value }) => value))
        for (const [at, { resolve }] of group.entries()) resolve(results[at] as Result)
      } catch (error) {
        for (const { reject } of group) reject(error)
      }
      this.#writtenAt = performance.now()
    }
    // In the same turn as the last look at the queue: a value that comes later begins anew.
    this.#writing = undefined
  }
}
