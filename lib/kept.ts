/** One answer for many who ask: what is costly to find out is asked at most so often. */

/**
 * @param ms how long an answer is kept; one that failed is kept as long, so that a backend that is down is not asked by
 * everybody.
 */
export function kept<T>(ms: number, ask: () => Promise<T>, now: () => number = Date.now): () => Promise<T> {
  let last: { at: number; answer: Promise<T> } | undefined
  return () => {
    const at = now()
    if (last === undefined || at - last.at >= ms) last = { at, answer: ask() }
    return last.answer
  }
}
