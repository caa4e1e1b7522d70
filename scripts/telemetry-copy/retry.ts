/** Retries of what a store could not do while it was unavailable. */
import { setTimeout as sleep } from 'node:timers/promises'
import pRetry from 'p-retry'
import { AppError } from '../../lib/errors.ts'

export interface RetryOptions {
  /** Tries of one step, and the longest pause before a try, ms. */
  readonly patience?: { readonly tries: number; readonly longestMs: number }
  /** Ends the pauses and the tries. */
  readonly signal: AbortSignal
}

const isUnavailable = (error: unknown): error is AppError =>
  error instanceof AppError && error.code === 'UNAVAILABLE'

export type Retry = <T>(step: () => Promise<T>) => Promise<T>

/**
 * @param onWaiting called before each pause.
 * @returns a function that carries out a step. It throws AppError UNAVAILABLE when the store stays unavailable.
 */
export const retryWhileUnavailable = (
  { patience = { tries: 30, longestMs: 30_000 }, signal }: RetryOptions,
  onWaiting: () => void,
): Retry => {
  const { tries, longestMs } = patience
  const shouldRetry = async ({ error, attemptNumber }: { error: Error; attemptNumber: number }) => {
    if (!isUnavailable(error) || signal.aborted) return false
    onWaiting()
    // The store may ask for a longer pause than ours.
    const ms = Math.max((error.retryAfterS ?? 1) * 1000, 2 ** attemptNumber * 100)
    await sleep(Math.min(longestMs, ms), undefined, { signal }).catch(() => undefined)
    return true
  }
  return (step) => pRetry(step, { retries: tries - 1, minTimeout: 0, shouldRetry })
}
