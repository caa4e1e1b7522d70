/** Request limits counted in a Redis by its URL: every instance that knows it shares one count. */
import { createHash } from 'node:crypto'
import { createClient } from '@redis/client'
import type { Limiter } from './limit.ts'
import { createSharedLimiter, type SharedLimiterOptions, withoutFlags } from './limit-shared.ts'

export interface RedisLimiterOptions extends Omit<SharedLimiterOptions, 'redis' | 'name' | 'timeoutMs'> {
  /** redis: or rediss:, with user, password and number of the database where they are needed. */
  url: string
  /** Milliseconds a request may take, its connection included. */
  timeoutMs?: number
}

export interface RedisLimiter extends Limiter {
  /** Resolves when the server answers. @throws {Error} what the connection or the server said. */
  check(): Promise<void>
  close(): Promise<void>
}

/** Connections begin again after so long at most, ms. */
const longestPauseMs = 2000

class TimedOut extends Error {
  override readonly name = 'TimedOut'
  readonly code = 'ETIMEDOUT'
}

export function createRedisLimiter({ url, timeoutMs = 1000, ...options }: RedisLimiterOptions): RedisLimiter {
  let fault: unknown
  const client = createClient({
    url,
    // A request must not wait in a line for a server that is away.
    disableOfflineQueue: true,
    socket: {
      connectTimeout: timeoutMs,
      reconnectStrategy: (tries) => Math.min(100 * 2 ** tries, longestPauseMs),
    },
  })
  client.on('error', (error: unknown) => {
    fault = error
  })
  let connected: Promise<unknown> | undefined
  /** The first call connects; from then on the client does. */
  const connect = () => {
    connected ??= client.connect().catch((error: unknown) => {
      fault = error
    })
    return client.isReady ? undefined : connected
  }

  const inTime = async <T>(ask: () => Promise<T>): Promise<T> => {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(client.isReady ? new TimedOut() : (fault ?? new TimedOut())), timeoutMs)
    })
    const answer = (async () => {
      await connect()
      return ask()
    })()
    // After its time is up nobody listens to it.
    answer.catch(() => undefined)
    return Promise.race([answer, late]).finally(() => clearTimeout(timer))
  }

  const scripts = new Map<string, { readonly text: string; readonly digest: string }>()
  const run = async (script: string, keys: string[], args: string[]): Promise<unknown> => {
    let known = scripts.get(script)
    if (known === undefined) {
      const text = withoutFlags(script)
      known = { text, digest: createHash('sha1').update(text).digest('hex') }
      scripts.set(script, known)
    }
    try {
      return await client.evalSha(known.digest, { keys, arguments: args })
    } catch (error) {
      if (!String(error).includes('NOSCRIPT')) throw error
      return client.eval(known.text, { keys, arguments: args })
    }
  }
  const redis = {
    // The library knows digests of its own text only: it has to show that.
    evalsha: () => Promise.reject(new Error('NOSCRIPT')),
    eval: (script: string, keys: string[], args: unknown[]) =>
      inTime(() => run(script, keys, args.map(String))),
  } as unknown as SharedLimiterOptions['redis']

  return {
    ...createSharedLimiter({ redis, name: 'Redis', timeoutMs, ...options }),
    async check() {
      await inTime(() => client.ping())
    },
    async close() {
      if (connected !== undefined) client.destroy()
    },
  }
}
