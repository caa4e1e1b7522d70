/** `iotflow telemetry copy`: copies telemetry between the embedded store and InfluxDB. */
import { type Command, Option } from 'commander'
import { CommandError, UsageError } from '../../scripts/command.ts'
import type { Side } from '../../scripts/telemetry-copy/arguments.ts'
import { copyTelemetry } from '../../scripts/telemetry-copy/telemetry-copy.ts'
import { action, examples } from '../context.ts'
import { refuseUrl } from '../settings.ts'

interface Options {
  readonly from: Side
  readonly to: Side
  readonly since?: string
  readonly until?: string
  readonly device?: readonly string[]
  readonly restart?: boolean
}

const sides = ['embedded', 'influxdb']

const idsOf = (texts: readonly string[]): number[] =>
  texts.map((text) => {
    if (/^[1-9]\d{0,14}$/.test(text)) return Number(text)
    throw new UsageError(`--device must be the id of a device, not "${text}".`)
  })

export const addCopyTelemetry = (to: Command) =>
  to
    .command('copy')
    .description('copies telemetry from one store into the other, and compares both')
    .addOption(new Option('--from <store>', 'embedded or influxdb').choices(sides).makeOptionMandatory())
    .addOption(new Option('--to <store>', 'embedded or influxdb').choices(sides).makeOptionMandatory())
    .option('--since <time>', 'readings from this time on')
    .option('--until <time>', 'readings before this time')
    .option('--device <id...>', 'only these devices')
    .option('--restart', 'starts again instead of going on where an interrupted copy ended')
    .addHelpText('after', examples('iotflow telemetry copy --from embedded --to influxdb --since -7d'))
    .action(
      action(
        async (
          { options },
          {
            from,
            to: destination,
            since,
            until,
            device,
            restart = false,
            dataDir,
          }: Options & { dataDir?: string },
        ) => {
          refuseUrl(options, 'A copy')
          if (from === destination) throw new UsageError('--from and --to must be two different stores.')
          if (dataDir !== undefined) process.env.DATA_DIR = dataDir
          const devices = device && [...new Set(idsOf(device))].sort((one, other) => one - other)
          const code = await copyTelemetry({ from, to: destination, since, until, devices, restart })
          if (code !== 0) throw new CommandError('The destination does not have every reading.', code)
        },
      ),
    )
