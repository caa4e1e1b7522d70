/** HTTP as a well-behaved client speaks it: what may pass is tried again, as late as the layer asks for. */
import { setTimeout as sleep } from 'node:timers/promises'

/** Ends a simulation; the message is one sentence for the person who started it. */
export class SimulationError extends Error {
  override readonly name = 'SimulationError'
}

/** The patience ended before there was an answer; the message says what happened last, as a part of a sentence. */
export class GaveUp extends Error {
  override readonly name = 'GaveUp'
}

export type RetryReason = 'HTTP 429' | 'HTTP 503' | 'connection lost'

export interface Answer {
  readonly status: number
  /** Undefined when the answer is not JSON. */
  readonly body: unknown
}

export interface Patience {
  /** Aborted when the answer is no longer waited for. */
  readonly signal: AbortSignal
  onRetry?(reason: RetryReason): void
  /** How often in a row the connection may be refused or lost before it is given up. */
  readonly maxLost?: number
}

/** A longer Retry-After is not waited for: its answer is the final one. */
const maxWaitMs = 65_000
const requestTimeoutMs = 15_000

/** Resolves after `ms`, or as soon as `signal` is aborted. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (ms > 0 && !signal.aborted) await sleep(ms, undefined, { signal }).catch(() => undefined)
}

/** Milliseconds before try number `attempt + 2`: doubled each time up to 5 s, and spread. */
export const backoffMs = (attempt: number): number =>
  Math.min(5000, 250 * 2 ** attempt) * (0.75 + Math.random() / 2)

/** Whether nothing listens at the other end. */
export function isRefused(error: unknown): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ECONNREFUSED') return true
  }
  return false
}

const retryAfterMs = (response: Response): number | undefined => {
  const seconds = Number(response.headers.get('retry-after') ?? Number.NaN)
  return seconds >= 0 ? seconds * 1000 : undefined
}

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/**
 * Repeats a request until its answer is neither 429 nor 503 and arrived whole.
 * @throws {GaveUp} when the patience ends before that.
 */
export async function request(
  url: string,
  init: { method?: string; headers?: Record<string, string>; body?: string },
  { signal, onRetry, maxLost = Number.POSITIVE_INFINITY }: Patience,
): Promise<Answer> {
  let reason = 'there was no answer in time'
  let lost = 0
  for (let attempt = 0; !signal.aborted; attempt++) {
    let waitMs = backoffMs(attempt)
    try {
      const response = await fetch(url, {
        ...init,
        signal: AbortSignal.any([signal, AbortSignal.timeout(requestTimeoutMs)]),
      })
      const answer = { status: response.status, body: parsed(await response.text()) }
      if (answer.status !== 429 && answer.status !== 503) return answer
      lost = 0
      waitMs = retryAfterMs(response) ?? waitMs
      if (waitMs > maxWaitMs) return answer
      reason = describe(answer)
      onRetry?.(answer.status === 429 ? 'HTTP 429' : 'HTTP 503')
    } catch (error) {
      if (signal.aborted) break
      reason = isRefused(error) ? 'the connection was refused' : 'the connection was lost'
      if (++lost > maxLost) throw new GaveUp(reason, { cause: error })
      onRetry?.('connection lost')
    }
    await pause(waitMs, signal)
  }
  throw new GaveUp(reason)
}

/** What a person is told when nothing listens where the layer should be. */
export const nothingAnswers = (url: string, flag: string): SimulationError => {
  const { protocol, host } = new URL(url)
  return new SimulationError(
    `Nothing answers at ${protocol}//${host}: run \`npm start\` first, or say with ${flag} where the layer is.`,
  )
}

/** Status and message of an answer that is not the one hoped for. */
export function describe({ status, body }: Answer): string {
  const { error } = (body ?? {}) as { error?: { message?: unknown } }
  return typeof error?.message === 'string' ? `HTTP ${status}: ${error.message}` : `HTTP ${status}`
}
