/** Request limits counted on a Redis server, given by its URL: every instance that uses it shares one count. */
import { createHash } from 'node:crypto'
import { createClient } from '@redis/client'
import pTimeout from 'p-timeout'
import type { Limiter } from './limiter.ts'
import { SharedLimiter, type SharedLimiterOptions, withoutFlags } from './shared.ts'

export interface RedisLimiterOptions extends Omit<SharedLimiterOptions, 'redis' | 'name' | 'timeoutMs'> {
  /** redis: or rediss:, with user, password and number of the database where they are needed. */
  url: string
  /** Milliseconds a request may take, its connection included. */
  timeoutMs?: number
}

export interface RedisLimiter extends Limiter {
  /** Resolves when the server answers. @throws {Error} from the connection or the server. */
  check(): Promise<void>
  close(): Promise<void>
}

/** Longest pause between two attempts to connect, ms. */
const maxReconnectPauseMs = 2000

class TimedOut extends Error {
  override readonly name = 'TimedOut'
  readonly code = 'ETIMEDOUT'
}

const openClient = (url: string, timeoutMs: number) =>
  createClient({
    url,
    // A request must not wait in a queue for a server that is unavailable.
    disableOfflineQueue: true,
    socket: {
      connectTimeout: timeoutMs,
      reconnectStrategy: (tries) => Math.min(100 * 2 ** tries, maxReconnectPauseMs),
    },
  })

/** One connection to the server, opened by the first command. */
class Connection {
  readonly #client: ReturnType<typeof openClient>
  readonly #timeoutMs: number
  readonly #scripts = new Map<string, { readonly text: string; readonly digest: string }>()
  #connected: Promise<unknown> | undefined
  #failure: unknown

  constructor(url: string, timeoutMs: number) {
    this.#timeoutMs = timeoutMs
    this.#client = openClient(url, timeoutMs)
    this.#client.on('error', (error: unknown) => {
      this.#failure = error
    })
  }

  eval(script: string, keys: string[], args: string[]): Promise<unknown> {
    return this.#inTime(() => this.#run(script, keys, args))
  }

  async ping(): Promise<void> {
    await this.#inTime(() => this.#client.ping())
  }

  close(): void {
    if (this.#connected !== undefined) this.#client.destroy()
  }

  /** The first call connects; later the client reconnects by itself. */
  async #connect(): Promise<void> {
    this.#connected ??= this.#client.connect().catch((error: unknown) => {
      this.#failure = error
    })
    if (!this.#client.isReady) await this.#connected
  }

  #inTime<T>(command: () => Promise<T>): Promise<T> {
    return pTimeout(this.#connect().then(command), {
      milliseconds: this.#timeoutMs,
      fallback: () => {
        throw this.#client.isReady ? new TimedOut() : (this.#failure ?? new TimedOut())
      },
    })
  }

  async #run(script: string, keys: string[], args: string[]): Promise<unknown> {
    let known = this.#scripts.get(script)
    if (known === undefined) {
      const text = withoutFlags(script)
      known = { text, digest: createHash('sha1').update(text).digest('hex') }
      this.#scripts.set(script, known)
    }
    try {
      return await this.#client.evalSha(known.digest, { keys, arguments: args })
    } catch (error) {
      if (!String(error).includes('NOSCRIPT')) throw error
      return this.#client.eval(known.text, { keys, arguments: args })
    }
  }
}

export function createRedisLimiter({ url, timeoutMs = 1000, ...options }: RedisLimiterOptions): RedisLimiter {
  const connection = new Connection(url, timeoutMs)
  const redis = {
    // The library's digest is of the script with the flag. This error makes the library send the text, and `Connection` removes
    // the flag.
    evalsha: () => Promise.reject(new Error('NOSCRIPT')),
    eval: (script: string, keys: string[], args: unknown[]) =>
      connection.eval(script, keys, args.map(String)),
  } as unknown as SharedLimiterOptions['redis']
  const shared = new SharedLimiter({ redis, name: 'Redis', timeoutMs, ...options })
  return {
    take: (rateLimit, subject) => shared.take(rateLimit, subject),
    check: () => connection.ping(),
    close: async () => connection.close(),
  }
}
