/**
 * Request limits counted on a server that all instances share. While the server is unavailable nobody waits for it, and
 * each limit says whether requests are let in.
 */
import { Ratelimit } from '@upstash/ratelimit'
import { AppError } from '../../errors.ts'
import type { Log } from '../../log.ts'
import type { Limiter, LimitOutcome, RateLimit } from './limiter.ts'

export interface SharedLimiterOptions {
  /** Runs the scripts; with one try each and a time-out of its own. */
  redis: ConstructorParameters<typeof Ratelimit>[0]['redis']
  /** Name of the server in the log. */
  name: string
  /** In front of every key, so that deployments that share a database count apart. */
  prefix: string
  /** Counts the limits that fail open while the server is unavailable; it starts from zero. */
  fallback: Limiter
  log?: Pick<Log, 'warn'> | undefined
  /** Milliseconds a request to the server may take. */
  timeoutMs: number
  /** Milliseconds of a clock that never goes back, for the pause and the log; windows use the wall clock. */
  now?: (() => number) | undefined
}

/** Milliseconds after a failure in which the server is not asked: no request waits for its time-out. */
const pauseMs = 2000
const warnEveryMs = 30_000

/**
 * A sliding window on the server. A request counts when the server decides so, even if its answer comes too late. The wall
 * clocks of the instances decide which window it is, so they should agree to well within one window.
 */
export class SharedLimiter implements Limiter {
  readonly #options: SharedLimiterOptions
  readonly #now: () => number
  readonly #ratelimits = new WeakMap<RateLimit, Ratelimit>()
  /** While > 0 the server counts as unavailable, and is not asked before this moment. */
  #pausedUntil = 0
  #failure: unknown
  #warnedAt = Number.NEGATIVE_INFINITY
  #countedInMemory = 0
  #refused = 0

  constructor(options: SharedLimiterOptions) {
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
  }

  async take(rateLimit: RateLimit, subject: string): Promise<LimitOutcome> {
    const at = this.#now()
    if (at < this.#pausedUntil) return this.#takeWithoutServer(rateLimit, subject)
    // After a pause one request asks the server; the others do not wait for its answer.
    if (this.#pausedUntil > 0) this.#pausedUntil = at + this.#options.timeoutMs
    try {
      const { success, limit, remaining, reset } = await this.#ratelimitOf(rateLimit).limit(subject)
      this.#pausedUntil = 0
      // At the reset time a full window still counts in full. From 1 ms later it counts less, so that a request fits.
      return { allowed: success, limit, remaining, resetAt: success ? reset : reset + 1 }
    } catch (error) {
      this.#failure = error
      this.#pausedUntil = this.#now() + pauseMs
      return this.#takeWithoutServer(rateLimit, subject)
    }
  }

  #ratelimitOf(rateLimit: RateLimit): Ratelimit {
    let ratelimit = this.#ratelimits.get(rateLimit)
    if (ratelimit === undefined) {
      const { redis, prefix } = this.#options
      ratelimit = new Ratelimit({
        redis,
        limiter: Ratelimit.slidingWindow(rateLimit.limit, `${rateLimit.windowMs} ms`),
        prefix: `${prefix}:limit:${rateLimit.name}`,
        // The library's own time-out would let the request pass.
        timeout: 0,
        // The library's cache refuses until the window ends, though the server may allow earlier, and forgets no subject.
        ephemeralCache: false,
        analytics: false,
      })
      this.#ratelimits.set(rateLimit, ratelimit)
    }
    return ratelimit
  }

  /** @throws {AppError} UNAVAILABLE for a limit that fails closed. */
  #takeWithoutServer(rateLimit: RateLimit, subject: string): LimitOutcome | Promise<LimitOutcome> {
    const failsOpen = rateLimit.onFailure === 'open'
    if (failsOpen) this.#countedInMemory++
    else this.#refused++
    this.#warn()
    if (failsOpen) return this.#options.fallback.take(rateLimit, subject)
    const retryAfterS = Math.max(1, Math.ceil((this.#pausedUntil - this.#now()) / 1000))
    throw new AppError(
      'UNAVAILABLE',
      `Requests cannot be counted at the moment, so this one is refused: try again in ${retryAfterS} s.`,
      { retryAfterS, cause: this.#failure },
    )
  }

  #warn(): void {
    if (this.#now() - this.#warnedAt < warnEveryMs) return
    this.#warnedAt = this.#now()
    this.#options.log?.warn(`request limits: ${this.#options.name} cannot be asked`, {
      error: this.#failure,
      reply: replyCode(this.#failure),
      counted_in_memory: this.#countedInMemory,
      refused: this.#refused,
    })
    this.#countedInMemory = 0
    this.#refused = 0
  }
}

/** The code at the start of an error message of Redis, such as `WRONGPASS`; the rest of the message holds the command. */
const replyCode = (error: unknown): string | undefined =>
  error instanceof Error ? /^[A-Z]{3,20}(?= )/.exec(error.message)?.[0] : undefined

/** A script without its first line, a flag of the library that only Upstash understands. */
export const withoutFlags = (script: string): string => script.replace(/^#!.*\n/, '')
