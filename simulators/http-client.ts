/** An HTTP client with few connections for many devices. It repeats what failed, after the time that the server asks for. */
import { type IncomingMessage, Agent as PlainAgent, request as requestPlain } from 'node:http'
import { request as requestTls, Agent as TlsAgent } from 'node:https'
import type { TimerQueue } from './timer-queue.ts'

/** Ends a simulation. The message is one sentence for the user. */
export class SimulationError extends Error {
  override readonly name = 'SimulationError'
}

/** The patience ended before an answer came. The message is the last failure, as a part of a sentence. */
export class GaveUp extends Error {
  override readonly name = 'GaveUp'
}

export type RetryReason = 'HTTP 429' | 'HTTP 503' | 'connection lost'

export interface Answer {
  readonly status: number
  /** Undefined when the answer is not JSON. */
  readonly body: unknown
  readonly headers: IncomingMessage['headers']
}

export interface Patience {
  /** True: there is no further try. */
  over(): boolean
  onRetry?(reason: RetryReason): void
  /** Refused or lost connections in a row before the request fails. */
  readonly maxLost?: number
}

export interface Request {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'DELETE'
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  /** The connection of the first try breaks when the request was written, before its answer. */
  readonly loseFirstAnswer?: boolean
}

/** Connections that are open at the same time. */
const maxSockets = 128
/** An answer with a longer Retry-After is final. */
const maxWaitMs = 65_000
const requestTimeoutMs = 60_000

/** Milliseconds before try number `attempt + 2`: doubled each time up to 5 s, with a random part. */
export const backoffMs = (attempt: number): number =>
  Math.min(5000, 250 * 2 ** attempt) * (0.75 + Math.random() / 2)

/** Whether no server listens there. */
export function isRefused(error: unknown): boolean {
  const errors = error instanceof AggregateError ? error.errors : [error]
  return errors.some((one) => (one as NodeJS.ErrnoException | undefined)?.code === 'ECONNREFUSED')
}

/** The error for the user when no server listens at the address. */
export const nothingAnswers = (url: string, flag: string): SimulationError => {
  const { protocol, host } = new URL(url)
  return new SimulationError(
    `Nothing answers at ${protocol}//${host}: run \`npm start\` first, or name the server's address with ${flag}.`,
  )
}

/** Status and message of an unexpected answer. */
export function describe({ status, body }: Pick<Answer, 'status' | 'body'>): string {
  const { error } = (body ?? {}) as { error?: { message?: unknown } }
  return typeof error?.message === 'string' ? `HTTP ${status}: ${error.message}` : `HTTP ${status}`
}

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const retryAfterMs = ({ headers }: Answer): number | undefined => {
  const seconds = Number(headers['retry-after'] ?? Number.NaN)
  return seconds >= 0 ? seconds * 1000 : undefined
}

export class HttpClient {
  readonly #timers: TimerQueue
  // A free connection that is used again first keeps the number of open ones small.
  readonly #plain = new PlainAgent({ keepAlive: true, maxSockets, scheduling: 'lifo' })
  readonly #tls = new TlsAgent({ keepAlive: true, maxSockets, scheduling: 'lifo' })

  constructor(timers: TimerQueue) {
    this.#timers = timers
  }

  /**
   * Repeats a request until a complete answer comes that is neither 429 nor 503.
   * @throws {GaveUp} when the patience ends before.
   */
  async request(url: string, request: Request, patience: Patience): Promise<Answer> {
    const { onRetry, maxLost = Number.POSITIVE_INFINITY } = patience
    let reason = 'there was no answer in time'
    let lost = 0
    for (let attempt = 0; !patience.over(); attempt++) {
      let waitMs = backoffMs(attempt)
      try {
        const answer = await this.#exchange(url, request, attempt === 0 && request.loseFirstAnswer === true)
        if (answer.status !== 429 && answer.status !== 503) return answer
        lost = 0
        waitMs = retryAfterMs(answer) ?? waitMs
        if (waitMs > maxWaitMs) return answer
        reason = describe(answer)
        onRetry?.(answer.status === 429 ? 'HTTP 429' : 'HTTP 503')
      } catch (error) {
        if (patience.over()) break
        reason = isRefused(error) ? 'the connection was refused' : 'the connection was lost'
        if (++lost > maxLost) throw new GaveUp(reason, { cause: error })
        onRetry?.('connection lost')
      }
      await this.#timers.pause(waitMs)
    }
    throw new GaveUp(reason)
  }

  /** Breaks every connection. */
  close(): void {
    this.#plain.destroy()
    this.#tls.destroy()
  }

  #exchange(url: string, { method = 'GET', headers, body }: Request, loseAnswer: boolean): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const tls = url.startsWith('https:')
      const options = {
        method,
        agent: tls ? this.#tls : this.#plain,
        timeout: requestTimeoutMs,
        headers: {
          ...headers,
          ...(body === undefined ? {} : { 'Content-Length': String(Buffer.byteLength(body)) }),
        },
      }
      const sent = (tls ? requestTls : requestPlain)(url, options, (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('error', reject)
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            body: parsed(Buffer.concat(chunks).toString()),
            headers: response.headers,
          }),
        )
      })
      sent.on('error', reject)
      sent.on('timeout', () => sent.destroy(new Error('no answer in time')))
      if (loseAnswer) sent.on('finish', () => sent.destroy(new Error('the connection breaks')))
      sent.end(body)
    })
  }
}
