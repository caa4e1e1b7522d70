/** The arguments of `npm run telemetry:copy`. */
import { parseArgs } from 'node:util'
import { allTime } from '../lib/telemetry/query.ts'
import type { TimeRange } from '../lib/telemetry/store.ts'
import { parseInstant } from '../lib/telemetry/time.ts'

export const help = `Copies telemetry from one store to the other. Readings that are there already stay as they are or are written again.

  npm run telemetry:copy -- --from embedded --to influxdb [options]
  npm run telemetry:copy -- --from influxdb --to embedded [options]

  --since <time>   readings from this time on: ISO 8601, an epoch, or a time back from now such as -7d
  --until <time>   readings before this time
  --device <id>    only this device; may be given several times
  --restart        begins anew instead of going on where a copy was broken off

INFLUXDB_URL and INFLUXDB_TOKEN name the one side, DATA_DIR or DATABASE_URL the other; both may be set at once here.
From the embedded store the layer may go on running. Into it the layer has to be stopped.
Ctrl-C ends it after the readings that are under way; the same command goes on from there.
Exit code: 0 when everything is there, 1 when something is missing or the copy was broken off, 2 when an argument is wrong.
`

/** A bad argument; the message is one sentence. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

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

/** Undefined when help is asked for. @throws {UsageError} naming the first argument that is wrong. */
export const parseArguments = (args: readonly string[]): Arguments | undefined => {
  const { values } = (() => {
    try {
      return parseArgs({
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
    } catch (error) {
      const [first = ''] = (error as Error).message.split(/\n|\. /)
      throw new UsageError(`${first.replace(/\.$/, '')}; --help shows what there is.`)
    }
  })()
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
