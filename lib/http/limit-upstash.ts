/** Request limits counted in Upstash Redis: every instance of every function shares one count. */
import { Ratelimit } from '@upstash/ratelimit'
import { Redis } from '@upstash/redis'
import { AppError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Limiter, Outcome, Rule } from './limit.ts'

export interface UpstashLimiterOptions {
  /** Base address of the REST API, http or https. */
  url: string
  token: string
  /** In front of every key: deployments that share a database count apart. */
  prefix: string
  /** Counts for the rules that fail open while Upstash cannot be asked; it begins at nothing. */
  fallback: Limiter
  log?: Pick<Log, 'warn'> | undefined
  /** Milliseconds a request to Upstash may take, ≥ 1; up to three are sent while the server does not know the script. */
  timeoutMs?: number
  /** Milliseconds of a clock that never goes back, for the pause and the log; windows go by the wall clock. */
  now?: () => number
}

/** After a failure nobody asks for so long: a request must not wait for the time-out of a server that is away. */
const pauseMs = 2000
const warnEveryMs = 30_000

/**
 * A sliding window in Upstash Redis. A request counts when the server decides so, even if its answer comes too late
 * to be heard. The wall clocks of the instances say which window it is, so they should agree to well within one.
 * @throws {Error} when the URL is not http or https.
 */
export function createUpstashLimiter({
  url,
  token,
  prefix,
  fallback,
  log,
  timeoutMs = 1000,
  now = () => performance.now(),
}: UpstashLimiterOptions): Limiter {
  const redis = new Redis({
    url,
    token,
    // `retry: false` still tries twice, and a request that is sent twice may count twice.
    retry: { retries: 0 },
    // A function, for a signal of each request: one for all would stay aborted after the first time-out.
    signal: () => AbortSignal.timeout(timeoutMs),
    // It would gather only what is asked within two microtasks, so hardly ever two callers.
    enableAutoPipelining: false,
    enableTelemetry: false,
  })
  withoutRefusedFlags(redis)

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

  /** While > 0 Upstash is taken to be away, and not asked before this moment. */
  let pausedUntil = 0
  let failure: unknown
  let warnedAt = Number.NEGATIVE_INFINITY
  let countedInMemory = 0
  let refused = 0

  const warn = () => {
    if (now() - warnedAt < warnEveryMs) return
    warnedAt = now()
    log?.warn('request limits: Upstash cannot be asked', {
      error: failure,
      reply: replyCode(failure),
      counted_in_memory: countedInMemory,
      refused,
    })
    countedInMemory = 0
    refused = 0
  }

  const withoutUpstash = (rule: Rule, subject: string): Promise<Outcome> => {
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
      if (at < pausedUntil) return withoutUpstash(rule, subject)
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
        return withoutUpstash(rule, subject)
      }
    },
  }
}

/**
 * The first line of the library's scripts is a flag by which Upstash locks only the keys of the script, not the
 * database. Other Redis servers refuse it: once one has, scripts go there without that line, whole each time.
 */
const withoutRefusedFlags = (redis: Redis): void => {
  let bare: string | undefined
  redis.use(async (request, next) => {
    // ['eval', script, …] or ['evalsha', digest, …]; `Ratelimit` runs one script only.
    const [, script = '', ...rest] = request.body as string[]
    if (bare === undefined) {
      try {
        return await next(request)
      } catch (error) {
        if (!String(error).includes('Unexpected flag')) throw error
        bare = script.replace(/^#!.*\n/, '')
      }
    }
    return next({ ...request, body: ['eval', bare, ...rest] })
  })
}

/** Redis's own code at the head of its message, `WRONGPASS` say. The rest of the message holds the command. */
const replyCode = (error: unknown): string | undefined =>
  error instanceof Error ? /^[A-Z]{3,20}(?= )/.exec(error.message)?.[0] : undefined
