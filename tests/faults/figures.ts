/** Figures as the scenarios say them, and the memory of a layer over time. */
import type { Machine } from '../support/machine.ts'

/** @param sorted ascending. @returns the value below which this share lies; NaN of nothing. */
export const at = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN

/** @param sorted how long answers took, ms, ascending. */
export const spread = (sorted: readonly number[]): string =>
  sorted.length === 0
    ? 'no answers'
    : `p50 ${Math.round(at(sorted, 0.5))} ms, p99 ${Math.round(at(sorted, 0.99))} ms of ${sorted.length} answers`

export const mb = (bytes: number): number => Math.round(bytes / 1e6)

/** The most that resident memory may grow under any fault. */
export const maxGrowth = 300e6

/** Looks at the resident memory ten times a second. */
export function watchMemory(machine: Pick<Machine, 'rss'>) {
  const before = machine.rss()
  let most = before
  const look = () => {
    most = Math.max(most, machine.rss())
  }
  const timer = setInterval(look, 100)
  return {
    /** @returns the most that it has grown so far, bytes. */
    growth() {
      look()
      return most - before
    },
    stop: () => clearInterval(timer),
  }
}
