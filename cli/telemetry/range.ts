/** The options that choose readings, for the commands that read them. */
import type { Command } from 'commander'
import type { Answer, Api } from '../api.ts'

export interface RangeOptions {
  readonly since?: string
  readonly until?: string
  readonly fields?: string
}

export const addRange = (command: Command): Command =>
  command
    .option(
      '--since <time>',
      'readings from this time on: ISO 8601, an epoch, or a time back from now such as -24h',
      '-1h',
    )
    .option('--until <time>', 'readings before this time; by default all')

export const addFields = (command: Command): Command =>
  command.option('--fields <names>', 'only these fields, separated by commas')

export const rangeQuery = ({ since, until, fields }: RangeOptions) => ({
  start_time: since,
  end_time: until,
  fields,
})

/** Readings of one request. */
const pageSize = 5000

/**
 * The readings of a device, page by page.
 * @param order `asc` or `desc`.
 */
export async function* readingsOf(
  server: Api,
  id: number,
  range: RangeOptions,
  order: 'asc' | 'desc',
  pageLimit = pageSize,
): AsyncGenerator<readonly Answer[]> {
  let cursor: string | undefined
  do {
    const query = { ...rangeQuery(range), order, limit: pageLimit, cursor }
    const page = await server.get(`/api/v1/telemetry/${id}`, query)
    yield page.data as Answer[]
    cursor = page.next_cursor
  } while (cursor !== undefined)
}

/** The names of all fields of some readings, in alphabetical order. */
export const fieldNames = (readings: readonly object[]): string[] =>
  [...new Set(readings.flatMap((reading) => Object.keys(reading)))]
    .filter((name) => name !== 'timestamp' && name !== 'metadata')
    .sort()
