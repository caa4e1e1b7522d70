/** `iotflow telemetry export`: readings of devices as CSV or NDJSON, oldest first. */
import { createReadStream } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Command } from 'commander'
import { csvLine } from '../../lib/csv.ts'
import { UsageError } from '../../scripts/command.ts'
import type { Answer, Api } from '../api.ts'
import { action, examples } from '../context.ts'
import { Progress } from '../progress.ts'
import { openSink, type Sink } from '../sink.ts'
import { addFields, addRange, fieldNames, type RangeOptions, readingsOf } from './range.ts'

interface Options extends RangeOptions {
  readonly out?: string
  readonly format: string
  readonly all?: boolean
}

const devicesOf = async (server: Api, names: readonly string[], all: boolean): Promise<Answer[]> => {
  if (all === names.length > 0) throw new UsageError('Name the devices, or --all.')
  if (!all) return Promise.all(names.map((name) => server.device(name)))
  const devices = []
  for await (const device of server.pages('/api/v1/admin/devices', 'devices', { limit: 1000 }))
    devices.push(device)
  return devices
}

/** Writes every reading as one JSON line, and gathers the names of the fields. */
const writeNdjson = async (server: Api, devices: readonly Answer[], range: RangeOptions, sink: Sink) => {
  const progress = new Progress('readings')
  const names = new Set<string>()
  let count = 0
  for (const [at, { id, name }] of devices.entries()) {
    for await (const page of readingsOf(server, id, range, 'asc')) {
      const lines = page.map(
        (reading) => `${JSON.stringify({ device_id: id, device_name: name, ...reading })}\n`,
      )
      await sink.write(lines.join(''))
      for (const field of fieldNames(page)) names.add(field)
      count += page.length
      progress.show(count, at / devices.length)
    }
  }
  progress.clear()
  return { count, names: [...names].sort() }
}

/** A CSV needs its columns first: the readings pass through a temporary file. */
const writeCsv = async (
  server: Api,
  devices: readonly Answer[],
  range: RangeOptions,
  sink: Sink,
): Promise<number> => {
  const folder = await mkdtemp(join(tmpdir(), 'iotflow-export-'))
  try {
    const lines = await openSink(join(folder, 'readings'))
    const { count, names } = await writeNdjson(server, devices, range, lines)
    await lines.close()
    const columns = ['device_id', 'device_name', 'timestamp', ...names, 'metadata']
    await sink.write(csvLine(columns))
    for await (const line of createInterface({ input: createReadStream(join(folder, 'readings')) })) {
      const reading = JSON.parse(line) as Record<string, unknown>
      await sink.write(csvLine(columns.map((name) => reading[name])))
    }
    return count
  } finally {
    await rm(folder, { recursive: true })
  }
}

export const addExportTelemetry = (to: Command) =>
  addFields(
    addRange(
      to
        .command('export')
        .description('writes readings of devices, oldest first')
        .argument('[device...]', 'their ids or names'),
    ),
  )
    .option('--all', 'every device')
    .option('--out <file>', 'writes to this file instead of the terminal')
    .option('--format <format>', 'csv or ndjson', 'csv')
    .addHelpText(
      'after',
      examples(
        'iotflow telemetry export greenhouse-1 --since -30d --out greenhouse.csv',
        'iotflow telemetry export 7 8 9 --fields temperature --format ndjson',
        'iotflow telemetry export --all --since 2026-01-01T00:00:00Z --out all.csv',
      ),
    )
    .action(
      action(async ({ api, output }, options: Options, names: readonly string[]) => {
        const { all = false, format, out } = options
        if (format !== 'csv' && format !== 'ndjson') throw new UsageError('--format must be csv or ndjson.')
        const server = await api()
        const devices = await devicesOf(server, names, all)
        const sink = await openSink(out)
        try {
          const count =
            format === 'csv'
              ? await writeCsv(server, devices, options, sink)
              : (await writeNdjson(server, devices, options, sink)).count
          await sink.close()
          if (out !== undefined) output.note(`${count} readings of ${devices.length} devices are in ${out}.`)
        } catch (error) {
          await sink.discard()
          throw error
        }
      }),
    )
