/** Request limits counted in Upstash Redis, over its REST API: every instance of every function shares one count. */
import type { Limiter } from './limiter.ts'
import { SharedLimiter, type SharedLimiterOptions, withoutFlags } from './shared.ts'

export interface UpstashLimiterOptions extends Omit<SharedLimiterOptions, 'redis' | 'name' | 'timeoutMs'> {
  /** Base address of the REST API, http or https. */
  url: string
  token: string
  /** Milliseconds a request to Upstash may take, ≥ 1; up to three are sent while the server does not know the script. */
  timeoutMs?: number
}

/** An error that the server told. Its message begins with a code of Redis, such as `WRONGPASS`. */
class UpstashFault extends Error {
  override readonly name = 'UpstashFault'
}

/**
 * The two commands that `Ratelimit` sends, each tried once: a request that is sent twice may count twice. Upstash's own client
 * would add 80 KB to every bundle.
 */
class Scripts {
  readonly #url: string
  readonly #token: string
  readonly #timeoutMs: number
  /** The script without its flag, once the server has refused the flag. `Ratelimit` runs one script only. */
  #bareScript: string | undefined

  constructor({ url, token, timeoutMs }: { url: string; token: string; timeoutMs: number }) {
    if (!/^https?:\/\//.test(url)) throw new Error('The URL of Upstash must begin with https:// or http://.')
    this.#url = url
    this.#token = token
    this.#timeoutMs = timeoutMs
  }

  evalsha(digest: string, keys: string[], args: unknown[]): Promise<unknown> {
    return this.#bareScript === undefined
      ? this.#send('evalsha', digest, keys, args)
      : this.#send('eval', this.#bareScript, keys, args)
  }

  /** Scripts begin with a flag by which Upstash locks only the keys of the script; other servers refuse it. */
  async eval(script: string, keys: string[], args: unknown[]): Promise<unknown> {
    try {
      return await this.#send('eval', script, keys, args)
    } catch (error) {
      if (!String(error).includes('Unexpected flag')) throw error
      this.#bareScript = withoutFlags(script)
      return this.#send('eval', this.#bareScript, keys, args)
    }
  }

  async #send(command: string, script: string, keys: string[], args: unknown[]): Promise<unknown> {
    const response = await fetch(this.#url, {
      method: 'POST',
      headers: { Authorization: `Bearer ${this.#token}`, 'Content-Type': 'application/json' },
      body: JSON.stringify([command, script, keys.length, ...keys, ...args]),
      signal: AbortSignal.timeout(this.#timeoutMs),
    })
    const text = await response.text()
    let answer: { result?: unknown; error?: string }
    try {
      answer = JSON.parse(text) as typeof answer
    } catch {
      throw new UpstashFault(`status ${response.status}, and no JSON`)
    }
    if (answer.error !== undefined || !response.ok)
      throw new UpstashFault(answer.error ?? `status ${response.status}`)
    return answer.result
  }
}

/** @throws {Error} when the URL is not http or https. */
export function createUpstashLimiter({
  url,
  token,
  timeoutMs = 1000,
  ...options
}: UpstashLimiterOptions): Limiter {
  const redis = new Scripts({ url, token, timeoutMs }) as unknown as SharedLimiterOptions['redis']
  return new SharedLimiter({ redis, name: 'Upstash', timeoutMs, ...options })
}
