/** `iotflow telemetry import`: sends readings from a file as their devices, with the keys that `device import --keys` wrote. */
import type { Command } from 'commander'
import { parse } from 'csv-parse/sync'
import { CommandError, UsageError } from '../../scripts/command.ts'
import { Api } from '../api.ts'
import { serverUrl } from '../connection.ts'
import { action, examples } from '../context.ts'
import { tableOf } from '../output.ts'
import { Progress } from '../progress.ts'
import { readText } from '../text-file.ts'

interface Options {
  readonly keys: string
  readonly format?: string
}

/** One row of the file, with its number: the header of a CSV is row 1. */
interface Row {
  readonly row: number
  readonly fields: Readonly<Record<string, unknown>>
}

interface RowError {
  readonly row: number
  readonly reason: string
}

/** Readings of one request: below the 1,000 and the 1 MiB that a server takes. */
const batchReadings = 500
const batchCharacters = 500_000

/** The keys by the id and by the name of their device. */
const readKeys = async (file: string): Promise<Map<string, string>> => {
  const keys = new Map<string, string>()
  const records = parse(await readText(file), { bom: true, columns: true }) as Record<string, string>[]
  for (const { id, name, api_key: key } of records) {
    if (key === undefined) throw new UsageError(`--keys: ${file} has no column api_key.`)
    if (id) keys.set(`id ${id}`, key)
    if (name) keys.set(`name ${name}`, key)
  }
  return keys
}

/** A cell as the value that it means: a number, true or false, or a text. */
const valueOfCell = (cell: string): unknown => {
  if (/^-?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i.test(cell)) return Number(cell)
  return cell === 'true' || cell === 'false' ? cell === 'true' : cell
}

function* csvRows(text: string): Generator<Row> {
  const [columns = [], ...records] = parse(text, { bom: true, relax_column_count: true }) as string[][]
  for (const [at, cells] of records.entries()) {
    const fields: Record<string, unknown> = {}
    for (const [n, column] of columns.entries()) {
      const cell = cells[n] ?? ''
      if (cell !== '')
        fields[column] = ['device_name', 'timestamp', 'metadata'].includes(column) ? cell : valueOfCell(cell)
    }
    yield { row: at + 2, fields }
  }
}

function* ndjsonRows(text: string): Generator<Row | RowError> {
  for (const [at, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue
    const row = at + 1
    let fields: unknown
    try {
      fields = JSON.parse(line)
    } catch {
      yield { row, reason: 'is not valid JSON' }
      continue
    }
    if (typeof fields !== 'object' || fields === null || Array.isArray(fields))
      yield { row, reason: 'must be a JSON object' }
    else yield { row, fields: fields as Row['fields'] }
  }
}

/** The reading of a row in the form that the server takes. */
const readingOf = ({ device_id: _id, device_name: _name, timestamp, metadata, ...data }: Row['fields']) => {
  let meta = metadata
  if (typeof metadata === 'string')
    try {
      meta = JSON.parse(metadata)
    } catch {
      meta = { metadata }
    }
  return {
    data,
    ...(timestamp === undefined ? {} : { timestamp }),
    ...(meta === undefined ? {} : { metadata: meta }),
  }
}

interface Waiting {
  readonly rows: number[]
  readonly readings: object[]
  characters: number
}

class Import {
  stored = 0
  rows = 0
  readonly errors: RowError[] = []
  readonly #url: string
  readonly #keys: ReadonlyMap<string, string>
  readonly #waiting = new Map<string, Waiting>()

  constructor(url: string, keys: ReadonlyMap<string, string>) {
    this.#url = url
    this.#keys = keys
  }

  async add(row: Row | RowError): Promise<void> {
    this.rows += 1
    if (!('fields' in row)) {
      this.errors.push(row)
      return
    }
    const { device_id: id, device_name: name } = row.fields
    const key = this.#keys.get(`id ${id}`) ?? this.#keys.get(`name ${name}`)
    if (key === undefined) {
      this.errors.push({
        row: row.row,
        reason: `no key of device ${String(id ?? name)} is in the file of keys`,
      })
      return
    }
    const waiting = this.#waiting.get(key) ?? { rows: [], readings: [], characters: 0 }
    this.#waiting.set(key, waiting)
    const reading = readingOf(row.fields)
    waiting.rows.push(row.row)
    waiting.readings.push(reading)
    waiting.characters += JSON.stringify(reading).length
    if (waiting.rows.length >= batchReadings || waiting.characters > batchCharacters)
      await this.#send(key, waiting)
  }

  async end(): Promise<void> {
    for (const [key, waiting] of this.#waiting) await this.#send(key, waiting)
  }

  /** @throws {CommandError} when no server answers; a batch that it refuses is an error of its rows. */
  async #send(key: string, { rows, readings }: Waiting): Promise<void> {
    this.#waiting.delete(key)
    const api = new Api({ url: this.#url, headers: { 'X-API-Key': key } })
    const rowOf = (index: number) => rows[index] ?? 0
    try {
      const answer = await api.request('POST', '/api/v1/telemetry', { body: { batch: readings } })
      this.stored += answer.accepted
      for (const { index, message } of answer.rejected)
        this.errors.push({ row: rowOf(index), reason: message })
    } catch (error) {
      if (error instanceof CommandError && error.exitCode === 3) throw error
      for (const row of rows) this.errors.push({ row, reason: (error as Error).message })
    }
  }
}

export const addImportTelemetry = (to: Command) =>
  to
    .command('import')
    .description('sends readings from a file as their devices; the form is that of `telemetry export`')
    .argument('<file>', 'CSV with the columns device_id or device_name, timestamp and the fields; or NDJSON')
    .requiredOption(
      '--keys <file>',
      'CSV with the columns id, name and api_key, as `device import --keys` writes it',
    )
    .option('--format <format>', 'csv or ndjson; by default by the name of the file')
    .addHelpText('after', examples('iotflow telemetry import readings.csv --keys keys.csv'))
    .action(
      action(async ({ options: globals, output }, { keys, format }: Options, file: string) => {
        const kind = format ?? (/\.(?:ndjson|jsonl)$/i.test(file) ? 'ndjson' : 'csv')
        if (kind !== 'csv' && kind !== 'ndjson') throw new UsageError('--format must be csv or ndjson.')
        const run = new Import(await serverUrl(globals), await readKeys(keys))
        const progress = new Progress('rows')
        const text = await readText(file)
        for (const row of kind === 'csv' ? csvRows(text) : ndjsonRows(text)) {
          await run.add(row)
          progress.show(run.rows, 0)
        }
        await run.end()
        progress.clear()
        const errors = run.errors.sort((one, other) => one.row - other.row)
        await output.result({ stored: run.stored, errors }, () =>
          [
            `${run.stored} readings are stored, ${errors.length} rows have errors.\n`,
            ...(errors.length === 0
              ? []
              : [
                  tableOf(
                    ['row', 'reason'],
                    errors.map(({ row, reason }) => [row, reason]),
                  ),
                ]),
          ].join('\n'),
        )
        if (errors.length > 0) throw new CommandError(`${errors.length} rows were not stored.`)
      }),
    )
