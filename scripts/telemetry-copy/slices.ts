/** Parts of the readings of a device that are small enough to be copied or counted at once. */
import type { TelemetryStore, TimeRange } from '../../lib/telemetry/store.ts'

export const later = (one: bigint, other: bigint): bigint => (one > other ? one : other)
export const earlier = (one: bigint, other: bigint): bigint => (one < other ? one : other)

/**
 * Splits a range into slices, the oldest first; slices without readings are left out.
 * @param most readings of one slice; asked again before each slice.
 */
export async function* slicesOf(
  count: (range: TimeRange) => Promise<number>,
  range: TimeRange,
  most: () => number,
): AsyncGenerator<TimeRange & { readonly count: number }> {
  const waiting = [{ ...range, count: await count(range) }]
  for (let part = waiting.pop(); part !== undefined; part = waiting.pop()) {
    if (part.count === 0) continue
    if (part.count <= most() || part.to - part.from <= 1n) {
      yield part
      continue
    }
    const middle = part.from + (part.to - part.from) / 2n
    const older = { from: part.from, to: middle }
    const newer = { from: middle, to: part.to }
    const inOlder = await count(older)
    // The older half can have more readings than the whole had, when the store is written to meanwhile.
    const inNewer = part.count > inOlder ? part.count - inOlder : await count(newer)
    waiting.push({ ...newer, count: inNewer }, { ...older, count: inOlder })
  }
}

/** The range from the first to the last reading of a device within another range; undefined when there are none. */
export const extentOf = async (
  store: TelemetryStore,
  deviceId: number,
  range: TimeRange,
): Promise<TimeRange | undefined> => {
  const [first] = await store.scan({ deviceId, ...range, limit: 1 })
  if (first === undefined) return undefined
  const newest = { deviceId, ...range, fields: undefined, limit: 1, order: 'desc' } as const
  const [last = first] = await store.history(newest)
  return { from: first.time, to: last.time + 1n }
}
