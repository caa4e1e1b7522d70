/** Which points of a line need a dot, because the line itself is too short there to be seen. */
import type { Value } from './table.ts'

/**
 * A line is drawn between two points: a point alone between two pauses has none, and that of a few points that came at nearly the
 * same time is thinner than a pixel.
 * @param least shorter stretches of a line are not seen, in the unit of the times.
 * @returns the last index of each of them, ascending.
 */
export function unseenStretches(
  times: ArrayLike<number>,
  values: ArrayLike<Value>,
  least: number,
): readonly number[] {
  const found: number[] = []
  let [first, last] = [-1, -1]
  const end = () => {
    if (first >= 0 && (times[last] ?? 0) - (times[first] ?? 0) < least) found.push(last)
    first = -1
  }
  for (let at = 0; at < values.length; at += 1) {
    const value = values[at]
    if (value === null) end()
    if (typeof value !== 'number') continue
    if (first < 0) first = at
    last = at
  }
  end()
  return found
}
