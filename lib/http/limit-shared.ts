/**
 * Request limits counted on a server that all instances share, whatever it is reached by. What happens while it cannot be
 * asked stands here once: nobody waits for it, and each rule says whether that lets requests in.
 */
import { Ratelimit } from '@upstash/ratelimit'
import { AppError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Limiter, Outcome, Rule } from './limit.ts'

export interface SharedLimiterOptions {
  /** What runs the scripts; one try each, and it ends by itself. */
  redis: ConstructorParameters<typeof Ratelimit>[0]['redis']
  /** Of the server, as the log calls it. */
  name: string
  /** In front of every key: deployments that share a database count apart. */
  prefix: string
  /** Counts for the rules that fail open while the server cannot be asked; it begins at nothing. */
  fallback: Limiter
  log?: Pick<Log, 'warn'> | undefined
  /** Milliseconds a request to the server may take. */
  timeoutMs: number
  /** Milliseconds of a clock that never goes back, for the pause and the log; windows go by the wall clock. */
  now?: (() => number) | undefined
}

/** After a failure nobody asks for so long: a request must not wait for the time-out of a server that is away. */
const pauseMs = 2000
const warnEveryMs = 30_000

/**
 * A sliding window. A request counts when the server decides so, even if its answer comes too late to be heard. The wall
 * clocks of the instances say which window it is, so they should agree to well within one.
 */
export function createSharedLimiter({
  redis,
  name,
  prefix,
  fallback,
  log,
  timeoutMs,
  now = () => performance.now(),
}: SharedLimiterOptions): Limiter {
  const ratelimits = new WeakMap<Rule, Ratelimit>()
  const ratelimitOf = (rule: Rule): Ratelimit => {
    let ratelimit = ratelimits.get(rule)
    if (ratelimit === undefined) {
      ratelimit = new Ratelimit({
        redis,
        limiter: Ratelimit.slidingWindow(rule.limit, `${rule.windowMs} ms`),
        prefix: `${prefix}:limit:${rule.name}`,
        // Its own time-out lets the request pass.
        timeout: 0,
        // It would refuse until the window ends what the server may allow before, and never forgets a subject.
        ephemeralCache: false,
        analytics: false,
      })
      ratelimits.set(rule, ratelimit)
    }
    return ratelimit
  }

  /** While > 0 the server is taken to be away, and not asked before this moment. */
  let pausedUntil = 0
  let failure: unknown
  let warnedAt = Number.NEGATIVE_INFINITY
  let countedInMemory = 0
  let refused = 0

  const warn = () => {
    if (now() - warnedAt < warnEveryMs) return
    warnedAt = now()
    log?.warn(`request limits: ${name} cannot be asked`, {
      error: failure,
      reply: replyCode(failure),
      counted_in_memory: countedInMemory,
      refused,
    })
    countedInMemory = 0
    refused = 0
  }

  const withoutServer = (rule: Rule, subject: string): Outcome | Promise<Outcome> => {
    const open = rule.onFailure === 'open'
    if (open) countedInMemory++
    else refused++
    warn()
    if (open) return fallback.take(rule, subject)
    const retryAfterS = Math.max(1, Math.ceil((pausedUntil - now()) / 1000))
    throw new AppError(
      'UNAVAILABLE',
      `Requests cannot be counted at the moment, so this one is refused: try again in ${retryAfterS} s.`,
      { retryAfterS, cause: failure },
    )
  }

  return {
    async take(rule, subject) {
      const at = now()
      if (at < pausedUntil) return withoutServer(rule, subject)
      // After a pause one request asks; the others do not wait with it.
      if (pausedUntil > 0) pausedUntil = at + timeoutMs
      try {
        const { success, limit, remaining, reset } = await ratelimitOf(rule).limit(subject)
        pausedUntil = 0
        // At the very end of the window a full one still weighs whole, 1 ms later less than whole.
        return { allowed: success, limit, remaining, resetAt: success ? reset : reset + 1 }
      } catch (error) {
        failure = error
        pausedUntil = now() + pauseMs
        return withoutServer(rule, subject)
      }
    },
  }
}

/** Redis's own code at the head of its message, `WRONGPASS` say. The rest of the message holds the command. */
const replyCode = (error: unknown): string | undefined =>
  error instanceof Error ? /^[A-Z]{3,20}(?= )/.exec(error.message)?.[0] : undefined

/** A script without the first line of the library's, which only Upstash understands. */
export const withoutFlags = (script: string): string => script.replace(/^#!.*\n/, '')
