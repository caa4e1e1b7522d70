/** Request limits: a port with two implementations, in memory here and Upstash beside it. */

/** So many requests per window; `limit` 0 turns the rule off. */
export interface Rule {
  readonly name: string
  readonly limit: number
  readonly windowMs: number
  /** What happens when the backend cannot be asked: `open` counts in this process, `closed` refuses. */
  readonly onFailure: 'open' | 'closed'
}

/** An outcome is a value: what to do with it is the caller's. */
export interface Outcome {
  readonly allowed: boolean
  readonly limit: number
  /** Requests left in the window, ≥ 0. */
  readonly remaining: number
  /**
   * Milliseconds since the epoch. Of an allowed request: when the window ends. Of a refused one: a moment from which
   * one more fits if none comes in between, at most 1 ms after the window's end; in memory the first such, to 1 ms.
   */
  readonly resetAt: number
}

export interface Limiter {
  /**
   * Counts one request of a subject; at once where nobody has to be asked.
   * @throws {AppError} UNAVAILABLE when a rule that fails closed cannot be asked.
   */
  take(rule: Rule, subject: string): Outcome | Promise<Outcome>
}

interface Windows {
  /** Number of the current window since the epoch. */
  index: number
  current: Map<string, number>
  previous: Map<string, number>
}

/** Subjects remembered per rule and window; beyond it the oldest are forgotten. */
const maxSubjects = 200_000

/**
 * A sliding window in this process: the window before counts by the share of it that still lies within one window's
 * length, as `@upstash/ratelimit` counts. A refused request does not count.
 */
export function createMemoryLimiter(now: () => number = Date.now): Limiter {
  const byRule = new Map<string, Windows>()

  const windowsOf = (rule: Rule, index: number): Windows => {
    let windows = byRule.get(rule.name)
    if (windows === undefined) {
      windows = { index, current: new Map(), previous: new Map() }
      byRule.set(rule.name, windows)
    } else if (windows.index < index) {
      windows.previous = windows.index === index - 1 ? windows.current : new Map()
      windows.current = new Map()
      windows.index = index
    }
    return windows
  }

  return {
    take(rule, subject) {
      const at = now()
      const { limit, windowMs } = rule
      const index = Math.floor(at / windowMs)
      const { current, previous } = windowsOf(rule, index)
      const end = (index + 1) * windowMs
      const before = previous.get(subject) ?? 0
      const count = current.get(subject) ?? 0
      const used = Math.floor(before * ((end - at) / windowMs)) + count
      if (used < limit) {
        if (count === 0 && current.size >= maxSubjects) {
          const oldest = current.keys().next()
          if (!oldest.done) current.delete(oldest.value)
        }
        current.set(subject, count + 1)
        return { allowed: true, limit, remaining: limit - used - 1, resetAt: end }
      }
      return { allowed: false, limit, remaining: 0, resetAt: freeAt(rule, before, count, end) }
    },
  }
}

/** When the next request fits: while this window still weighs the one before, or when it weighs little in the next. */
const freeAt = ({ limit, windowMs }: Rule, before: number, count: number, end: number): number => {
  if (count < limit && before > 0) return Math.ceil(end - ((limit - count) / before) * windowMs) + 1
  return Math.ceil(end + (1 - limit / Math.max(count, limit)) * windowMs) + 1
}
