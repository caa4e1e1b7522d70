/** The same call for many devices, a few at a time. */
import { signal } from '@preact/signals'
import type { ApiError, Result } from '../../api.ts'

export interface Target {
  readonly id: number
  readonly name: string
}

export interface Failure extends Target {
  readonly error: ApiError
}

/** Calls at the same time: more would only wait at the server, which writes one after the other. */
const atOnce = 4
/** Tries of a call that is refused because there were too many. */
const mostTries = 20

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/** Calls for every target, and what became of them. A failure does not end the run. */
export class BulkRun<T> {
  readonly targets: readonly Target[]
  readonly done = signal(0)
  readonly failures = signal<readonly Failure[]>([])
  readonly values: (Target & { readonly value: T })[] = []
  readonly finished = signal(false)
  /** The server has asked to wait: the limit of calls for an address is reached. */
  readonly waiting = signal(false)
  readonly #call: (target: Target) => Promise<Result<T>>
  #next = 0
  #stopped = false

  constructor(targets: readonly Target[], call: (target: Target) => Promise<Result<T>>) {
    this.targets = targets
    this.#call = call
  }

  async start(): Promise<void> {
    await Promise.all(Array.from({ length: atOnce }, () => this.#work()))
    this.waiting.value = false
    this.finished.value = true
  }

  /** Begins no further call. */
  stop(): void {
    this.#stopped = true
  }

  async #work(): Promise<void> {
    for (;;) {
      const target = this.targets[this.#next]
      if (target === undefined || this.#stopped) return
      this.#next += 1
      const result = await this.#try(target)
      if (result.ok) this.values.push({ ...target, value: result.value })
      else this.failures.value = [...this.failures.value, { ...target, error: result.error }]
      this.done.value += 1
    }
  }

  async #try(target: Target): Promise<Result<T>> {
    for (let tries = 1; ; tries += 1) {
      const result = await this.#call(target)
      if (result.ok || result.error.status !== 429 || tries === mostTries || this.#stopped) return result
      this.waiting.value = true
      await sleep((result.error.retryAfterS ?? 5) * 1000)
      this.waiting.value = false
    }
  }
}
