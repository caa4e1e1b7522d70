/** How many readings there are, and of which devices. */
import { flux, fluxExpression, type ParameterizedQuery } from '@influxdata/influxdb-client'
import type { TimeRange } from '../store.ts'
import { receivedAtKey } from './field-keys.ts'
import { allInfluxTimes, type FluxReader, withDevices, withKeys } from './flux.ts'

const byDevice = fluxExpression('columns: ["device_id"]')
/** Devices that one query for distinct times names at most. */
const devicesPerQuery = 20

/** Readings of one device, or of all. */
export async function countReadings(
  reader: FluxReader,
  range: TimeRange,
  deviceId?: number,
): Promise<number> {
  const all = reader.points(range, deviceId)
  if (all === undefined) return 0
  const points = flux`${all} |> ${withKeys([receivedAtKey])}`
  const counts = new Map<string, number>()
  const inSeveralSeries = new Set<string>()
  await reader.query(flux`${points} |> count() |> keep(columns: ["device_id", "_value"])`, (column) => {
    const id = String(column('device_id'))
    if (counts.has(id)) inSeveralSeries.add(id)
    counts.set(id, Number(column('_value')))
  })
  let total = 0
  for (const [id, count] of counts) if (!inSeveralSeries.has(id)) total += count
  return total + (await countDistinctTimes(reader, points, [...inSeveralSeries]))
}

/** A reading written again after the device's tags changed has a point in each series, and counts once. */
async function countDistinctTimes(
  reader: FluxReader,
  points: ParameterizedQuery,
  ids: readonly string[],
): Promise<number> {
  let total = 0
  for (let at = 0; at < ids.length; at += devicesPerQuery) {
    const ofThese = withDevices(ids.slice(at, at + devicesPerQuery))
    await reader.query(
      flux`${points} |> ${ofThese} |> group(${byDevice}) |> distinct(column: "_time") |> toInt() |> count()`,
      (column) => {
        total += Number(column('_value'))
      },
    )
  }
  return total
}

/** Ids of the devices that have telemetry, ascending. */
export async function listDevices(reader: FluxReader): Promise<number[]> {
  const all = reader.points(allInfluxTimes)
  if (all === undefined) return []
  const ids = new Set<number>()
  const script = flux`${all} |> ${withKeys([receivedAtKey])} |> last() |> keep(columns: ["device_id"])`
  await reader.query(script, (column) => ids.add(Number(column('device_id'))))
  return [...ids].sort((one, other) => one - other)
}
