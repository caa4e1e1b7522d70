/** `iotflow telemetry query`: readings of a device on the terminal. */
import type { Command } from 'commander'
import type { Answer } from '../api.ts'
import { action, examples } from '../context.ts'
import { wholeNumber } from '../numbers.ts'
import { addFields, addRange, fieldNames, type RangeOptions, readingsOf } from './range.ts'

interface Options extends RangeOptions {
  readonly limit: string
  readonly oldestFirst?: boolean
}

export const addQueryTelemetry = (to: Command) =>
  addFields(
    addRange(
      to
        .command('query')
        .description('shows readings of a device, newest first')
        .argument('<device>', 'its id or its name'),
    ),
  )
    .option('--limit <number>', 'readings at most', '100')
    .option('--oldest-first', 'shows the oldest first')
    .addHelpText(
      'after',
      examples(
        'iotflow telemetry query greenhouse-1',
        'iotflow telemetry query 7 --since -7d --fields temperature,humidity --limit 1000',
        'iotflow telemetry query 7 --since 2026-01-01T00:00:00Z --oldest-first --json',
      ),
    )
    .action(
      action(async ({ api, output }, options: Options, device: string) => {
        const limit = wholeNumber('--limit', options.limit)
        const server = await api()
        const { id } = await server.device(device)
        const order = options.oldestFirst ? 'asc' : 'desc'
        const readings: Answer[] = []
        for await (const page of readingsOf(server, id, options, order, Math.min(limit, 5000))) {
          readings.push(...page.slice(0, limit - readings.length))
          if (readings.length >= limit) break
        }
        const names = fieldNames(readings)
        await output.table(
          readings,
          ['timestamp', ...names],
          readings.map((reading) => [reading.timestamp, ...names.map((name) => reading[name])]),
        )
      }),
    )
