/** When messages arrive. A reading without a time of its own is stored under it: no arrival may repeat an earlier one. */

export interface Arrivals {
  /** Milliseconds since the epoch, never less than before: a clock that was set back is waited for, 1 ms a message. */
  next(): number
}

/** A clock that goes back further than this was wrong before: readings of the future are refused from here on, ms. */
const longest = 86_400_000

/** @param newest the last arrival of earlier processes, ms since the epoch. */
export function createArrivals(newest: number, now: () => number = Date.now): Arrivals {
  let last = newest
  return {
    next() {
      const at = now()
      last = at >= last || last - at > longest ? at : last + 1
      return last
    },
  }
}
