/** `iotflow telemetry aggregate`: one value for each time window. */
import type { Command } from 'commander'
import { action, examples } from '../context.ts'
import { fieldNames } from './range.ts'

interface Options {
  readonly field: string
  readonly aggregation: string
  readonly window: string
  readonly since: string
  readonly until?: string
}

export const addAggregateTelemetry = (to: Command) =>
  to
    .command('aggregate')
    .description('shows one value of a field for each window of time, newest first')
    .argument('<device>', 'its id or its name')
    .requiredOption('--field <name>', 'the field; * for every numeric one')
    .option('--aggregation <name>', 'mean, sum, count, min, max, first, last or median', 'mean')
    .option('--window <duration>', 'such as 5m, 1h or 1d', '1h')
    .option('--since <time>', 'ISO 8601, an epoch, or a time back from now', '-24h')
    .option('--until <time>', 'by default now')
    .addHelpText(
      'after',
      examples(
        'iotflow telemetry aggregate greenhouse-1 --field temperature',
        "iotflow telemetry aggregate 7 --field '*' --aggregation max --window 1d --since -30d",
      ),
    )
    .action(
      action(
        async ({ api, output }, { field, aggregation, window, since, until }: Options, device: string) => {
          const server = await api()
          const { id } = await server.device(device)
          const query = { field, aggregation, window, start_time: since, end_time: until }
          const answer = await server.get(`/api/v1/telemetry/${id}/aggregated`, query)
          const names = fieldNames(answer.data)
          await output.table(
            answer,
            ['timestamp', ...names],
            answer.data.map((one: Record<string, string | number>) => [
              one.timestamp,
              ...names.map((name) => one[name]),
            ]),
          )
        },
      ),
    )
