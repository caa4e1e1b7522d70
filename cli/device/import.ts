/** `iotflow device import`: registers the devices of a CSV or NDJSON file, in parts that every server takes. */
import { open, rm } from 'node:fs/promises'
import type { Command } from 'commander'
import { csvLine } from '../../lib/csv.ts'
import { splitImport } from '../../lib/devices/import-parts.ts'
import { CommandError, UsageError } from '../../scripts/command.ts'
import type { Api } from '../api.ts'
import { action, examples } from '../context.ts'
import { tableOf } from '../output.ts'
import { readText } from '../text-file.ts'

interface Options {
  readonly keys?: string
  readonly dryRun?: boolean
  readonly upsert?: boolean
  readonly format?: string
}

interface RowError {
  readonly row: number
  readonly name?: string
  readonly reason: string
}

interface NewKey {
  readonly row: number
  readonly id: number
  readonly name: string
  readonly api_key: string
}

class Result {
  created = 0
  updated = 0
  readonly errors: RowError[] = []
  readonly keys: NewKey[] = []
}

const typeOf = (file: string, format: string | undefined): string => {
  const name = format ?? (/\.(?:ndjson|jsonl)$/i.test(file) ? 'ndjson' : 'csv')
  if (name !== 'csv' && name !== 'ndjson') throw new UsageError('--format must be csv or ndjson.')
  return name === 'csv' ? 'text/csv' : 'application/x-ndjson'
}

/** Writes each part's keys before the next part is sent: they are shown only once. */
class KeyFile {
  readonly #path: string
  readonly #file: Awaited<ReturnType<typeof open>>

  static async create(path: string): Promise<KeyFile> {
    const file = await open(path, 'wx', 0o600).catch((error: NodeJS.ErrnoException) => {
      const why = error.code === 'EEXIST' ? 'exists already' : `cannot be written (${error.code})`
      throw new UsageError(`--keys: ${path} ${why}.`)
    })
    await file.writeFile(csvLine(['id', 'name', 'api_key']))
    return new KeyFile(path, file)
  }

  private constructor(path: string, file: Awaited<ReturnType<typeof open>>) {
    this.#path = path
    this.#file = file
  }

  async add(keys: readonly NewKey[]): Promise<void> {
    await this.#file.writeFile(keys.map(({ id, name, api_key }) => csvLine([id, name, api_key])).join(''))
    await this.#file.sync()
  }

  close(): Promise<void> {
    return this.#file.close()
  }

  /** Removes the file, in which no key is. */
  discard(): Promise<void> {
    return rm(this.#path)
  }
}

const importFile = async (
  server: Api,
  text: string,
  type: string,
  { dryRun, upsert }: Options,
  keyFile: KeyFile | undefined,
  result: Result,
): Promise<void> => {
  for (const { content, rowOf } of splitImport(text, type === 'text/csv' ? 'csv' : 'ndjson')) {
    const answer = await server.request('POST', '/api/v1/admin/devices/import', {
      query: { dry_run: dryRun, upsert },
      file: { type, content },
    })
    const numbered = <Row extends { readonly row: number }>(rows: readonly Row[]) =>
      rows.map((one) => ({ ...one, row: rowOf(one.row) }))
    result.created += answer.created
    result.updated += answer.updated
    result.errors.push(...numbered<RowError>(answer.errors))
    result.keys.push(...numbered<NewKey>(answer.keys))
    await keyFile?.add(answer.keys)
  }
}

export const addImportDevices = (to: Command) =>
  to
    .command('import')
    .description('registers the devices of a file: CSV with a header, or one JSON object in each line')
    .argument(
      '<file>',
      'columns: name, device_type, description, location, timezone, firmware_version, hardware_version, status, offline_after_s, labels or label.<key>, ttl_s or expires_at of the key',
    )
    .option('--keys <file>', 'writes the new keys to this file instead of printing them')
    .option('--dry-run', 'only tells what would be done')
    .option('--upsert', 'changes devices that exist')
    .option('--format <format>', 'csv or ndjson; by default by the name of the file')
    .addHelpText(
      'after',
      examples(
        'iotflow device import fleet.csv --dry-run',
        'iotflow device import fleet.csv --keys keys.csv',
        'iotflow device import fleet.ndjson --upsert --json',
      ),
    )
    .action(
      action(async ({ api, output }, options: Options, file: string) => {
        const server = await api()
        const type = typeOf(file, options.format)
        const text = await readText(file)
        const keyFile =
          options.keys === undefined || options.dryRun ? undefined : await KeyFile.create(options.keys)
        const result = new Result()
        let failure: unknown
        try {
          await importFile(server, text, type, options, keyFile, result)
        } catch (error) {
          // The keys of the parts before are shown only once.
          if (result.keys.length + result.updated === 0) throw error
          failure = error
        } finally {
          await keyFile?.close()
          if (result.keys.length === 0) await keyFile?.discard()
        }
        const { created, updated, errors, keys } = result
        const would = options.dryRun ? 'would be ' : ''
        const shown = keyFile === undefined ? keys : []
        await output.result({ created, updated, errors, keys: shown }, () =>
          [
            `${created} devices ${would}registered, ${updated} ${would}changed, ${errors.length} rows with errors.\n`,
            ...(errors.length === 0
              ? []
              : [
                  tableOf(
                    ['row', 'name', 'reason'],
                    errors.map(({ row, name, reason }) => [row, name, reason]),
                  ),
                ]),
            ...(shown.length === 0
              ? []
              : [
                  tableOf(
                    ['id', 'name', 'API key'],
                    shown.map(({ id, name, api_key }) => [id, name, api_key]),
                  ),
                ]),
          ].join('\n'),
        )
        if (failure !== undefined) throw failure
        if (errors.length > 0) throw new CommandError(`${errors.length} rows were not imported.`)
      }),
    )
