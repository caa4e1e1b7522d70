/** `iotflow device export`: every device as CSV or NDJSON, in the form that `device import` reads. */
import type { Command } from 'commander'
import { csvLine } from '../../lib/csv.ts'
import { UsageError } from '../../scripts/command.ts'
import { action, examples } from '../context.ts'
import { openSink } from '../sink.ts'
import { labelText } from './label-text.ts'

interface Options {
  readonly out?: string
  readonly format: string
  readonly status?: string
  readonly type?: string
  readonly selector?: string
}

const columns = [
  'id',
  'name',
  'device_type',
  'status',
  'description',
  'location',
  'timezone',
  'firmware_version',
  'hardware_version',
  'labels',
  'created_at',
  'last_seen',
] as const

export const addExportDevices = (to: Command) =>
  to
    .command('export')
    .description('writes every device; the keys are no part of it, because the server does not have them')
    .option('--out <file>', 'writes to this file instead of the terminal')
    .option('--format <format>', 'csv or ndjson', 'csv')
    .option('--status <status>', 'only devices of this status')
    .option('--type <type>', 'only devices of this type')
    .option('--selector <selector>', 'only devices with these labels: site=north,floor!=2')
    .addHelpText(
      'after',
      examples('iotflow device export --out fleet.csv', 'iotflow device export --format ndjson --type pump'),
    )
    .action(
      action(async ({ api, output }, { out, format, status, type, selector }: Options) => {
        if (format !== 'csv' && format !== 'ndjson') throw new UsageError('--format must be csv or ndjson.')
        const server = await api()
        const sink = await openSink(out)
        let count = 0
        if (format === 'csv') await sink.write(csvLine(columns))
        const query = { status, device_type: type, selector, limit: 1000 }
        for await (const device of server.pages('/api/v1/admin/devices', 'devices', query)) {
          const line = Object.fromEntries(columns.map((name) => [name, device[name]]))
          await sink.write(
            format === 'csv'
              ? csvLine(columns.map((name) => (name === 'labels' ? labelText(device.labels) : line[name])))
              : `${JSON.stringify(line)}\n`,
          )
          count += 1
        }
        await sink.close()
        if (out !== undefined) output.note(`${count} devices are in ${out}.`)
      }),
    )
