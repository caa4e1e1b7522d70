/** Compares two stores after a copy, by counts of readings. */
import type { TimeRange } from '../../lib/telemetry/store.ts'
import type { CopyOptions, CopyProgress } from './copying.ts'
import { retryWhileUnavailable } from './retry.ts'
import { earlier, extentOf, later, slicesOf } from './slices.ts'

/** A range in which the destination has fewer readings of a device than the source. */
export interface Difference extends TimeRange {
  readonly deviceId: number
  readonly source: number
  readonly destination: number
}

export interface Compared {
  readonly missing: readonly Difference[]
  /** Readings that reached the source after its end had been copied. */
  readonly arrivedLater: number
}

/** Readings that one count covers. */
const countedAtOnce = 20_000

/** Compares everything that is copied until now, device by device and slice by slice. */
export async function compareReadings(options: CopyOptions): Promise<Compared> {
  const { from, to, range, done, keptFrom, onProgress } = options
  let progress: CopyProgress = { phase: 'comparing', device: 0, devices: 0, readings: 0, total: 0 }
  const retry = retryWhileUnavailable(options, () => onProgress({ ...progress, phase: 'waiting' }))
  const missing: Difference[] = []
  let arrivedLater = 0
  const devices = options.devices ?? (await retry(() => from.devices()))
  for (const [at, deviceId] of devices.entries()) {
    progress = { ...progress, device: at + 1, devices: devices.length }
    onProgress(progress)
    const end = earlier(range.to, done.get(deviceId) ?? range.from)
    const count = (part: TimeRange) => retry(() => from.count(deviceId, part))
    if (end < range.to) arrivedLater += await count({ from: later(end, keptFrom()), to: range.to })
    const copied = { from: later(range.from, keptFrom()), to: end }
    const extent = copied.from < end ? await retry(() => extentOf(from, deviceId, copied)) : undefined
    if (extent === undefined) continue
    for await (const slice of slicesOf(count, extent, () => countedAtOnce)) {
      const part = { from: later(slice.from, keptFrom()), to: slice.to }
      if (part.from >= part.to) continue
      const [source, destination] = [await count(part), await retry(() => to.count(deviceId, part))]
      progress = { ...progress, readings: progress.readings + source }
      onProgress(progress)
      if (destination < source) missing.push({ deviceId, ...part, source, destination })
    }
  }
  return { missing, arrivedLater }
}
