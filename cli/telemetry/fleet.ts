/** `iotflow telemetry fleet`: one field of many devices. */
import type { Command } from 'commander'
import type { Answer } from '../api.ts'
import { action, examples } from '../context.ts'
import { wholeNumber } from '../numbers.ts'
import type { Output } from '../output.ts'

interface Options {
  readonly field: string
  readonly selector?: string
  readonly type?: string
  readonly aggregation?: string
  readonly window?: string
  readonly since?: string
  readonly until?: string
  readonly limit?: string
}

const showLatest = (output: Output, devices: readonly Answer[]) =>
  output.table(
    devices,
    ['id', 'name', 'time', 'value'],
    devices.map((device) => [device.device_id, device.device_name, device.timestamp, device.value]),
  )

const showWindows = async (output: Output, devices: readonly Answer[]) => {
  await output.table(
    devices,
    ['id', 'name', 'time', 'value'],
    devices.flatMap(({ device_id, device_name, data }) =>
      (data as readonly Answer[]).map(({ timestamp, value }) => [device_id, device_name, timestamp, value]),
    ),
  )
  for (const { device_id, device_name, error } of devices)
    if (error !== undefined) output.note(`Device ${device_id}, ${device_name}, sends text in this field.`)
}

export const addFleetTelemetry = (to: Command) =>
  to
    .command('fleet')
    .description('shows one field of many devices: its newest values, or one value for each window of time')
    .requiredOption('--field <name>', 'the field')
    .option('--selector <selector>', 'only devices with these labels: site=north,floor!=2')
    .option('--type <type>', 'only devices of this type')
    .option(
      '--aggregation <name>',
      'mean, sum, count, min, max, first, last or median; by default the newest values',
    )
    .option('--window <duration>', 'with --aggregation: such as 5m, 1h or 1d')
    .option(
      '--since <time>',
      'with --aggregation: ISO 8601, an epoch, or a time back from now; by default a day',
    )
    .option('--until <time>', 'with --aggregation: by default now')
    .option('--limit <number>', 'devices at most; by default all')
    .addHelpText(
      'after',
      examples(
        'iotflow telemetry fleet --field temperature --selector site=north',
        'iotflow telemetry fleet --field temperature --selector "site in (north,south)" --aggregation max --window 1d --since -7d',
      ),
    )
    .action(
      action(async ({ api, output }, options: Options) => {
        const { field, selector, type, aggregation, window, since, until } = options
        const most =
          options.limit === undefined ? Number.POSITIVE_INFINITY : wholeNumber('--limit', options.limit)
        const query = {
          field,
          selector,
          device_type: type,
          aggregation,
          window,
          start_time: since,
          end_time: until,
          limit: Math.min(most, 1000),
        }
        const devices: Answer[] = []
        for await (const device of (await api()).pages('/api/v1/telemetry', 'devices', query)) {
          if (devices.length >= most) break
          devices.push(device)
        }
        await (aggregation === undefined ? showLatest : showWindows)(output, devices)
      }),
    )
