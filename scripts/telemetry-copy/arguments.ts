/** The arguments of `npm run telemetry:copy`. */

import { parseInstant } from '../../lib/telemetry/duration.ts'
import type { TimeRange } from '../../lib/telemetry/store.ts'
import { allTime } from '../../lib/telemetry/store.ts'
import { parseOptions, UsageError } from '../command.ts'

export const help = `Copies telemetry from one store to the other. Readings that the destination has already are written again.

  npm run telemetry:copy -- --from embedded --to influxdb [options]
  npm run telemetry:copy -- --from influxdb --to embedded [options]

  --since <time>   readings from this time on: ISO 8601, an epoch, or a time back from now such as -7d
  --until <time>   readings before this time
  --device <id>    only this device; may be given several times
  --restart        starts again from the beginning instead of where an interrupted copy ended

INFLUXDB_URL and INFLUXDB_TOKEN name one store, DATA_DIR or DATABASE_URL the other; both may be set at once here.
The IoTFlow server may run during a copy from its embedded store. Stop it before a copy into its embedded store.
Ctrl-C ends the copy after the readings under way; the same command goes on from there.
Exit code: 0 when the destination has every reading, 1 when readings are missing or the copy was interrupted, 2 when an argument
is wrong.
`

export type Side = 'embedded' | 'influxdb'

export interface Arguments {
  readonly from: Side
  readonly to: Side
  readonly since: string | undefined
  readonly until: string | undefined
  readonly devices: readonly number[] | undefined
  readonly restart: boolean
}

const sideOf = (flag: string, text: string | undefined): Side => {
  if (text === 'embedded' || text === 'influxdb') return text
  throw new UsageError(`${flag} must be embedded or influxdb${text === undefined ? '' : `, not "${text}"`}.`)
}

/** @returns undefined when help is asked for. @throws {UsageError} for the first argument that is wrong. */
export const parseArguments = (args: readonly string[]): Arguments | undefined => {
  const { values } = parseOptions({
    args: [...args],
    options: {
      from: { type: 'string' },
      to: { type: 'string' },
      since: { type: 'string' },
      until: { type: 'string' },
      device: { type: 'string', multiple: true },
      restart: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) return undefined
  const [from, to] = [sideOf('--from', values.from), sideOf('--to', values.to)]
  if (from === to) throw new UsageError('--from and --to must be two different stores.')
  const devices = values.device?.map((text) => {
    if (/^[1-9]\d{0,14}$/.test(text)) return Number(text)
    throw new UsageError(`--device must be the id of a device, not "${text}".`)
  })
  return {
    from,
    to,
    since: values.since,
    until: values.until,
    devices: devices && [...new Set(devices)].sort((one, other) => one - other),
    restart: values.restart,
  }
}

const instantOf = (flag: string, text: string, now: bigint): bigint => {
  const time = parseInstant(text, now)
  if (time !== undefined) return time
  throw new UsageError(
    `${flag} must be ISO 8601, an epoch, or a time back from now such as -7d, not "${text}".`,
  )
}

/** @param now nanoseconds since the epoch. @throws {UsageError} */
export function rangeOf({ since, until }: Arguments, now: bigint): TimeRange {
  const range = {
    from: since === undefined ? allTime.from : instantOf('--since', since, now),
    to: until === undefined ? allTime.to : instantOf('--until', until, now),
  }
  if (range.from >= range.to) throw new UsageError('--since must be before --until.')
  return range
}
