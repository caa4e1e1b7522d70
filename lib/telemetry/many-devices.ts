/** Aggregations of many devices at once, each as {@link Telemetry.aggregate} gives it. */
import { AppError } from '../errors.ts'
import type { FilledAggregate } from './fill.ts'
import type { TelemetryReader, WindowQuery } from './telemetry-reader.ts'

/** Devices of one answer. */
export const maxSeries = 100
/** Windows of one answer, about 3 MB: the series of the first device may have more. */
const maxWindows = 50_000
/** Devices that the store is asked for at the same time. */
const atOnce = 10
/** Time after which an answer takes no further device, ms: a function has 10 s. */
const budgetMs = 5000

export interface Series {
  readonly deviceId: number
  /** Newest first. */
  readonly windows: readonly FilledAggregate[]
  /** The field is text, which this aggregation does not take. */
  readonly isText: boolean
}

const seriesOf = async (
  telemetry: Pick<TelemetryReader, 'aggregate'>,
  query: WindowQuery,
): Promise<Series> => {
  const { deviceId } = query
  try {
    return { deviceId, windows: await telemetry.aggregate(query), isText: false }
  } catch (error) {
    // One device that sends text must not hide all others.
    if (error instanceof AppError && error.code === 'NOT_NUMERIC')
      return { deviceId, windows: [], isText: true }
    throw error
  }
}

/**
 * Aggregates the first of these devices: as many as fit into one answer and into its time, at least one.
 * @returns the series in the order of the ids; the caller continues behind the last.
 * @throws {AppError} as {@link Telemetry.aggregate}, but NOT_NUMERIC.
 */
export async function aggregateDevices(
  telemetry: Pick<TelemetryReader, 'aggregate'>,
  deviceIds: readonly number[],
  query: Omit<WindowQuery, 'deviceId'>,
): Promise<Series[]> {
  const until = performance.now() + budgetMs
  const taken: Series[] = []
  let windows = 0
  while (taken.length < deviceIds.length && (taken.length === 0 || performance.now() < until)) {
    const part = deviceIds.slice(taken.length, taken.length + atOnce)
    const found = await Promise.all(part.map((deviceId) => seriesOf(telemetry, { ...query, deviceId })))
    for (const series of found) {
      windows += series.windows.length
      if (windows > maxWindows && taken.length > 0) return taken
      taken.push(series)
    }
  }
  return taken
}
