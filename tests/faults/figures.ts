/** Percentiles of answer times, and the memory growth of a server process. */
import type { StandaloneServer } from '../support/standalone.ts'

/** @param sorted ascending values. @returns the value below which this share of them lies; NaN if there are none. */
export const at = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN

/** @param sorted answer times, ms, ascending. */
export const spread = (sorted: readonly number[]): string =>
  sorted.length === 0
    ? 'no answers'
    : `p50 ${Math.round(at(sorted, 0.5))} ms, p99 ${Math.round(at(sorted, 0.99))} ms of ${sorted.length} answers`

export const mb = (bytes: number): number => Math.round(bytes / 1e6)

/**
 * Gives a server the heap that Node takes on a machine of 2 GB. On a larger one, V8 collects garbage later, and the growth would say how
 * large the machine is.
 */
export const withSmallHeap = { NODE_OPTIONS: '--max-old-space-size=1024' } as const

/** Limit for the growth of resident memory in every scenario, bytes. */
export const maxGrowth = 300e6

/** Measures the resident memory ten times a second. */
export function watchMemory(server: Pick<StandaloneServer, 'rss'>) {
  const before = server.rss()
  let most = before
  const look = () => {
    most = Math.max(most, server.rss())
  }
  const timer = setInterval(look, 100)
  return {
    /** @returns the largest growth so far, bytes. */
    growth() {
      look()
      return most - before
    },
    stop: () => clearInterval(timer),
  }
}
