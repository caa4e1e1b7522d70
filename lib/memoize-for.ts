/** Memoizes a costly question, so that many callers share one answer. */

/**
 * Keeps each answer for `ms` milliseconds. Keeps a rejection as long, so that a backend that is down is asked only as often.
 * @param now milliseconds since the epoch.
 */
export function memoizeFor<T>(
  ms: number,
  ask: () => Promise<T>,
  now: () => number = Date.now,
): () => Promise<T> {
  let last: { at: number; answer: Promise<T> } | undefined
  return () => {
    const at = now()
    if (last === undefined || at - last.at >= ms) last = { at, answer: ask() }
    return last.answer
  }
}
