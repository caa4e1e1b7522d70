/** Request limits counted in Upstash Redis, over its REST API: every instance of every function shares one count. */
import { Redis } from '@upstash/redis'
import type { Limiter } from './limit.ts'
import { createSharedLimiter, type SharedLimiterOptions, withoutFlags } from './limit-shared.ts'

export interface UpstashLimiterOptions extends Omit<SharedLimiterOptions, 'redis' | 'name' | 'timeoutMs'> {
  /** Base address of the REST API, http or https. */
  url: string
  token: string
  /** Milliseconds a request to Upstash may take, ≥ 1; up to three are sent while the server does not know the script. */
  timeoutMs?: number
}

/** @throws {Error} when the URL is not http or https. */
export function createUpstashLimiter({
  url,
  token,
  timeoutMs = 1000,
  ...options
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
  return createSharedLimiter({ redis, name: 'Upstash', timeoutMs, ...options })
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
        bare = withoutFlags(script)
      }
    }
    return next({ ...request, body: ['eval', bare, ...rest] })
  })
}
