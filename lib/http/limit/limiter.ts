/** Request limits: an interface with three implementations: in memory, on a Redis server and on Upstash. */

/** So many requests per window; `limit` 0 turns it off. */
export interface RateLimit {
  readonly name: string
  readonly limit: number
  readonly windowMs: number
  /** While the server cannot be asked, `open` counts in this process and `closed` refuses. */
  readonly onFailure: 'open' | 'closed'
}

/** Outcome of counting one request: a value, on which the caller decides. */
export interface LimitOutcome {
  readonly allowed: boolean
  readonly limit: number
  /** Requests left in the window, ≥ 0. */
  readonly remaining: number
  /**
   * Milliseconds since the epoch. For an allowed request: the end of the window. For a refused one: a time at which one more
   * request fits if none comes before, at most 1 ms after the end of the window. The limiter in memory gives the earliest such
   * time, to 1 ms.
   */
  readonly resetAt: number
}

export interface Limiter {
  /**
   * Counts one request of a subject; without a promise where no server has to be asked.
   * @throws {AppError} UNAVAILABLE when a limit that fails closed cannot be counted.
   */
  take(rateLimit: RateLimit, subject: string): LimitOutcome | Promise<LimitOutcome>
}
