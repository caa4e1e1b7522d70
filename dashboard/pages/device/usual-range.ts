/** The range of the charts when the reader has chosen none. */
import { useEffect, useState } from 'preact/hooks'
import type { Reading } from '../../answers.ts'
import { get } from '../../api.ts'
import { type MovingRange, presets } from '../../charts/range.ts'
import type { FieldInfo } from './answers.ts'

const hour = 3_600_000
/** Time between two looks at the clock, ms. */
const lookEveryMs = 5000

/**
 * An hour; of a device whose readings are all younger the shortest range that shows all of them, or they would be a speck at
 * the right edge.
 * @param oldest of the readings, ms since the epoch; undefined where it is not known. @param now the same.
 */
export const usualRange = (oldest: number | undefined, now: number): MovingRange => {
  const age = oldest === undefined ? hour : now - oldest
  return { lastMs: presets.find(({ ms }) => ms >= age && ms <= hour)?.ms ?? hour }
}

/** The usual range of a device; it becomes longer as the device goes on sending. */
export function useUsualRange(
  deviceId: number,
  fields: readonly FieldInfo[],
  now: () => number,
): MovingRange {
  const [lastMs, setLastMs] = useState(hour)
  // Readings may be older than their arrival, and only the server knows whether they are.
  const firstArrival = Math.min(...fields.map(({ first_seen }) => Date.parse(first_seen)))
  useEffect(() => {
    if (!Number.isFinite(firstArrival) || now() - firstArrival > hour) return
    const abort = new AbortController()
    let timer: ReturnType<typeof setInterval> | undefined
    const query = { order: 'asc', limit: 1, start_time: '2000-01-01T00:00:00Z' }
    const path = `telemetry/${deviceId}`
    void get<{ data: readonly Reading[] }>(path, query, { signal: abort.signal }).then((answer) => {
      const [reading] = answer.ok ? answer.value.data : []
      if (abort.signal.aborted || reading === undefined) return
      const look = () => setLastMs(usualRange(Date.parse(reading.timestamp), now()).lastMs)
      look()
      timer = setInterval(look, lookEveryMs)
    })
    return () => {
      abort.abort()
      clearInterval(timer)
    }
  }, [deviceId, firstArrival])
  return { lastMs }
}
