/** The rows of an import file: CSV with a header, or one JSON object in each line (NDJSON). */
import { CsvError, parse } from 'csv-parse/sync'
import * as z from 'zod'
import { AppError } from '../errors.ts'
import { normalName } from '../registry/folded-texts.ts'
import {
  description,
  deviceStatus,
  identity,
  type KeyLife,
  keyEnd,
  lifeOf,
  offlineAfter,
  toDescription,
} from './fields.ts'
import { type LabelChange, labelChange, parseLabels } from './labels.ts'

export type ImportFormat = 'csv' | 'ndjson'

/** A device as an import writes it. Of a device that exists, absent fields stay as they are, and null clears one. */
export interface ImportedDevice extends ReturnType<typeof toDescription> {
  readonly name: string
  readonly deviceType: string
  readonly status?: 'active' | 'inactive' | 'maintenance' | undefined
  /** Labels that are not named stay; null removes one, or all of them. */
  readonly labels?: LabelChange | null | undefined
  /** Seconds; null means the default of the settings. */
  readonly offlineAfterS?: number | null | undefined
  /** The life of the first key of a new device; undefined for a key without an end. */
  readonly keyLife?: KeyLife | undefined
}

/** One row of the file, numbered as an editor or a spreadsheet shows it: the header of a CSV is row 1. */
export type ImportRow =
  | { readonly row: number; readonly device: ImportedDevice }
  | { readonly row: number; readonly name: string | undefined; readonly reason: string }

/** An object, or the text of a cell. */
const rowLabels = z.preprocess((value, { addIssue }) => {
  if (typeof value !== 'string') return value
  const labels = parseLabels(value)
  if (labels === undefined) addIssue('must be an object of texts, or key=value with commas')
  return labels
}, labelChange)

const Row = z.object(
  {
    ...identity,
    ...description,
    status: deviceStatus.optional(),
    offline_after_s: offlineAfter,
    labels: rowLabels,
    ...keyEnd,
  },
  'must be a JSON object',
)

/** The columns that an import reads, by the names that the API has for them. */
export const importColumns: readonly string[] = Object.keys(Row.shape)

const numericColumns: ReadonlySet<string> = new Set(['offline_after_s', 'ttl_s'])

/** Begin of the columns of single labels. */
const labelColumn = 'label.'
const isImported = (column: string) => importColumns.includes(column) || column.startsWith(labelColumn)

const requiredColumns = ['name', 'device_type'] as const

/** Longest record of a CSV, characters: a quote that is never closed must not gather the whole file. */
const maxRecord = 65_536
const maxReason = 300

const notReadable = (message: string) =>
  new AppError('VALIDATION_FAILED', `The file cannot be read: ${message}.`)

const textOf = (bytes: Uint8Array): string => {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw notReadable('it is not UTF-8')
  }
}

const nameOf = (value: unknown): string | undefined => {
  const name = (value as { name?: unknown } | null)?.name
  return typeof name === 'string' && name !== '' ? name.trim().slice(0, 128) : undefined
}

const readRow = (row: number, value: unknown): ImportRow => {
  const parsed = Row.safeParse(value)
  if (!parsed.success) {
    const reason = parsed.error.issues
      .map(({ path, message }) => {
        const [field] = path
        if (field === undefined) return message
        const isMissing = (value as Record<PropertyKey, unknown>)[field] === undefined
        return `${path.join('.')} ${isMissing ? 'is missing' : message}`
      })
      .join('; ')
    return { row, name: nameOf(value), reason: reason.slice(0, maxReason) }
  }
  const { name, device_type: deviceType, status, labels, offline_after_s: offlineAfterS } = parsed.data
  const keyLife = lifeOf(parsed.data, Date.now())
  if (typeof keyLife === 'string') return { row, name: nameOf(value), reason: `expires_at ${keyLife}` }
  return {
    row,
    device: {
      ...toDescription(parsed.data),
      name: normalName(name),
      deviceType,
      status,
      labels,
      offlineAfterS,
      keyLife,
    },
  }
}

/** A spreadsheet exports with the list separator of its country: the one that the header has most counts. */
const separatorOf = (text: string): string => {
  const [header = ''] = text.split(/\r?\n/, 1)
  const count = (separator: string) => header.split(separator).length
  return [',', ';', '\t'].reduce((best, other) => (count(other) > count(best) ? other : best))
}

/** `Device Type` and `device-type` are `device_type`. The key in `label.<key>` stays as it is. */
const columnOf = (header: string) => {
  const [, key] = /^\s*label\.(.*?)\s*$/i.exec(header) ?? []
  if (key !== undefined) return `${labelColumn}${key}`
  return header
    .trim()
    .toLowerCase()
    .replaceAll(/[\s-]+/g, '_')
}

const recordsOf = (text: string): string[][] => {
  try {
    return parse(text, {
      bom: true,
      delimiter: separatorOf(text),
      relax_column_count: true,
      max_record_size: maxRecord,
    })
  } catch (error) {
    if (!(error instanceof CsvError)) throw error
    if (error.code === 'CSV_MAX_RECORD_SIZE')
      throw notReadable(
        `the row near line ${String(error.lines)} is too long, or a quote in it is not closed`,
      )
    throw notReadable(`a quote near line ${String(error.lines)} is wrong or is not closed`)
  }
}

const columnsOf = (header: readonly string[]): string[] => {
  const columns = header.map(columnOf)
  const missing = requiredColumns.filter((name) => !columns.includes(name))
  if (missing.length > 0)
    throw notReadable(`its first row must name the columns, and ${missing.join(' and ')} is not there`)
  const twice = columns.find((name, at) => isImported(name) && columns.indexOf(name) !== at)
  if (twice !== undefined) throw notReadable(`its first row names the column ${twice} twice`)
  return columns
}

/** The cells of a row by their columns. An empty cell is an absent field. */
const fieldsOf = (columns: readonly string[], cells: readonly string[]) => {
  const fields: Record<string, unknown> = {}
  const labels: [string, string][] = []
  for (const [at, column] of columns.entries()) {
    const cell = cells[at] ?? ''
    if (cell.trim() === '' || !isImported(column)) continue
    if (column.startsWith(labelColumn)) labels.push([column.slice(labelColumn.length), cell.trim()])
    else fields[column] = numericColumns.has(column) && /^\s*\d+\s*$/.test(cell) ? Number(cell) : cell
  }
  if (labels.length === 0) return fields
  const others = fields.labels === undefined ? {} : parseLabels(String(fields.labels))
  // A cell that cannot be read is refused as it is.
  return others === undefined ? fields : { ...fields, labels: { ...others, ...Object.fromEntries(labels) } }
}

function* rowsOfCsv(text: string): Generator<ImportRow> {
  const [header = [], ...records] = recordsOf(text)
  const columns = columnsOf(header)
  for (const [at, cells] of records.entries()) {
    const row = at + 2
    if (cells.every((cell) => cell.trim() === '')) continue
    const fields = fieldsOf(columns, cells)
    if (cells.length > columns.length)
      yield {
        row,
        name: nameOf(fields),
        reason: `has ${cells.length} cells, but the header ${columns.length}`,
      }
    else yield readRow(row, fields)
  }
}

function* rowsOfNdjson(text: string): Generator<ImportRow> {
  for (const [at, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue
    let value: unknown
    try {
      value = JSON.parse(line)
    } catch {
      yield { row: at + 1, name: undefined, reason: 'is not valid JSON' }
      continue
    }
    yield readRow(at + 1, value)
  }
}

/**
 * Reads an import file. A name that stands in it twice is an error of the later row.
 * @param maxRows rows without the header.
 * @throws {AppError} VALIDATION_FAILED for a file that has no rows to find, PAYLOAD_TOO_LARGE for too many rows.
 */
export function readImport(bytes: Uint8Array, format: ImportFormat, maxRows: number): ImportRow[] {
  const text = textOf(bytes)
  const rows: ImportRow[] = []
  const rowOfName = new Map<string, number>()
  for (const read of format === 'csv' ? rowsOfCsv(text) : rowsOfNdjson(text)) {
    if (rows.length === maxRows)
      throw new AppError('PAYLOAD_TOO_LARGE', `The file has more than ${maxRows} rows: split it.`)
    if (!('device' in read)) {
      rows.push(read)
      continue
    }
    const { row, device } = read
    const first = rowOfName.get(device.name)
    if (first === undefined) rowOfName.set(device.name, row)
    rows.push(
      first === undefined
        ? read
        : { row, name: device.name, reason: `name stands in row ${first} of this file already` },
    )
  }
  if (rows.length === 0) throw notReadable('it has no rows')
  return rows
}
