/** Request limits counted in the memory of this process. */
import type { Limiter, LimitOutcome, RateLimit } from './limiter.ts'

interface Windows {
  /** Number of the current window since the epoch. */
  index: number
  /** Requests by subject. */
  current: Map<string, number>
  previous: Map<string, number>
}

/** Subjects remembered per limit and window; beyond it the oldest are forgotten. */
const maxSubjects = 200_000

/**
 * A sliding window: the previous window counts by the share of it that still lies within one window's length, as
 * `@upstash/ratelimit` counts. A refused request does not count.
 */
export function createMemoryLimiter(now: () => number = Date.now): Limiter {
  const windowsByLimit = new Map<string, Windows>()

  const windowsOf = (name: string, index: number): Windows => {
    let windows = windowsByLimit.get(name)
    if (windows === undefined) {
      windows = { index, current: new Map(), previous: new Map() }
      windowsByLimit.set(name, windows)
    } else if (windows.index < index) {
      windows.previous = windows.index === index - 1 ? windows.current : new Map()
      windows.current = new Map()
      windows.index = index
    }
    return windows
  }

  return {
    take(rateLimit, subject): LimitOutcome {
      const at = now()
      const { limit, windowMs } = rateLimit
      const index = Math.floor(at / windowMs)
      const { current, previous } = windowsOf(rateLimit.name, index)
      const end = (index + 1) * windowMs
      const countBefore = previous.get(subject) ?? 0
      const count = current.get(subject) ?? 0
      const used = Math.floor(countBefore * ((end - at) / windowMs)) + count
      if (used >= limit) {
        return {
          allowed: false,
          limit,
          remaining: 0,
          resetAt: nextFreeAt(rateLimit, countBefore, count, end),
        }
      }
      if (count === 0 && current.size >= maxSubjects) {
        const oldest = current.keys().next()
        if (!oldest.done) current.delete(oldest.value)
      }
      current.set(subject, count + 1)
      return { allowed: true, limit, remaining: limit - used - 1, resetAt: end }
    },
  }
}

/** When the next request fits: in this window once the previous one weighs less, or in the next window. */
const nextFreeAt = (
  { limit, windowMs }: RateLimit,
  countBefore: number,
  count: number,
  end: number,
): number => {
  if (count < limit && countBefore > 0) return Math.ceil(end - ((limit - count) / countBefore) * windowMs) + 1
  return Math.ceil(end + (1 - limit / Math.max(count, limit)) * windowMs) + 1
}
