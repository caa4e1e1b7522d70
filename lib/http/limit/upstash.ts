/** Request limits counted in Upstash Redis, over its REST API: every instance of every function shares one count. */
import { Redis } from '@upstash/redis'
import type { Limiter } from './limiter.ts'
import { SharedLimiter, type SharedLimiterOptions, withoutFlags } from './shared.ts'

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
    // A function makes a signal for each request: a shared one would stay aborted after the first time-out.
    signal: () => AbortSignal.timeout(timeoutMs),
    // Pipelining gathers only the calls of two microtasks, so hardly ever two requests.
    enableAutoPipelining: false,
    enableTelemetry: false,
  })
  withoutRefusedFlags(redis)
  return new SharedLimiter({ redis, name: 'Upstash', timeoutMs, ...options })
}

/**
 * Lets the library work with servers other than Upstash. Its scripts begin with a flag by which Upstash locks only the keys
 * of the script; once a server has refused the flag, scripts go there without that line, as full text each time.
 */
const withoutRefusedFlags = (redis: Redis): void => {
  let bareScript: string | undefined
  redis.use(async (request, next) => {
    // ['eval', script, …] or ['evalsha', digest, …]; `Ratelimit` runs one script only.
    const [, script = '', ...rest] = request.body as string[]
    if (bareScript === undefined) {
      try {
        return await next(request)
      } catch (error) {
        if (!String(error).includes('Unexpected flag')) throw error
        bareScript = withoutFlags(script)
      }
    }
    return next({ ...request, body: ['eval', bareScript, ...rest] })
  })
}
