/** Reads the values of aggregations: as a stream where each value stands for itself, in pages where values must be merged. */
import { flux, fluxExpression, type ParameterizedQuery } from '@influxdata/influxdb-client'
import { Aggregator, takesText } from '../aggregation.ts'
import type { FieldValue } from '../reading.ts'
import type { Aggregate, AggregateQuery } from '../store.ts'
import { keyOfKind, keysOfField, parseFieldKey, receivedAtKey } from './field-keys.ts'
import { type FluxReader, secondOfRow, withKeys } from './flux.ts'
import { ReadingMerger, seriesOf } from './merge.ts'
import { decodeText } from './text.ts'

/** Values of one page of readings that must be merged, about. */
const pageValues = 100_000

const onlyNumbers = fluxExpression('filter(fn: (r) => r._field !~ /^(meta_.*|received_at|.*[|].*)$/)')
const noMetadata = fluxExpression('filter(fn: (r) => r._field !~ /^meta_.*$/)')
const valueColumns = fluxExpression('columns: ["_time", "_field", "_value"]')

/** The tables of a query's answer: one for each series and key. */
interface Tables {
  readonly count: number
  /** Keys that have values in the range. */
  readonly keys: ReadonlySet<string>
  /** Flux sees series and keys, not readings: several series, or a field with several kinds, must be merged. */
  readonly needMerging: boolean
}

async function findTables(reader: FluxReader, points: ParameterizedQuery): Promise<Tables> {
  const series = new Set<string>()
  const keys = new Set<string>()
  const names = new Set<string>()
  let [count, repeated] = [0, false]
  await reader.rows(flux`${points} |> first()`, (row) => {
    count += 1
    series.add(seriesOf(row))
    keys.add(row.key)
    const { name } = parseFieldKey(row.key) ?? {}
    if (name === undefined) return
    repeated ||= names.has(name)
    names.add(name)
  })
  return { count, keys, needMerging: series.size > 1 || repeated }
}

/**
 * @throws {AppError} as {@link Aggregator.result}, and UNAVAILABLE. InfluxDB's own aggregations would be quicker, but their
 * sums depend on the order of the values, their windows end with the range, and a median of many windows takes longer than a query may.
 */
export async function aggregateReadings(reader: FluxReader, query: AggregateQuery): Promise<Aggregate[]> {
  const { deviceId, field } = query
  const points = reader.points(query, deviceId)
  if (points === undefined) return []
  const asked = flux`${points} |> ${field === undefined ? noMetadata : withKeys(keysOfField(field))}`
  const tables = await findTables(reader, asked)
  const aggregator = new Aggregator(query)
  if (tables.count === 0) return []
  if (tables.needMerging) await addMerged(reader, query, tables, aggregator)
  else await addStreamed(reader, points, query, tables, aggregator)
  return aggregator.result()
}

async function addStreamed(
  reader: FluxReader,
  points: ParameterizedQuery,
  { field, aggregation }: AggregateQuery,
  { keys }: Tables,
  aggregator: Aggregator,
): Promise<void> {
  let wanted = onlyNumbers
  if (field !== undefined) {
    const [textKey, booleanKey] = [keyOfKind(field, 's'), keyOfKind(field, 'b')]
    if (keys.has(textKey)) aggregator.noteText(field)
    const found = [field, booleanKey, ...(takesText(aggregation) ? [textKey] : [])].filter((key) =>
      keys.has(key),
    )
    if (found.length === 0) return
    wanted = withKeys(found)
  }
  await reader.query(flux`${points} |> ${wanted} |> keep(${valueColumns})`, (column) => {
    if (aggregator.isFull) return
    const value = column('_value') as FieldValue
    const name = field ?? String(column('_field'))
    aggregator.add(secondOfRow(column), name, typeof value === 'string' ? decodeText(value) : value)
  })
}

/** Reads so many values of each table that a page is about as large as it should be, and merges them into readings. */
async function addMerged(
  reader: FluxReader,
  { deviceId, field, from, to }: AggregateQuery,
  { count }: Tables,
  aggregator: Aggregator,
): Promise<void> {
  const ofTable = Math.max(100, Math.floor(pageValues / count))
  const wanted = field === undefined ? noMetadata : withKeys([...keysOfField(field), receivedAtKey])
  for (let next = from; next < to && !aggregator.isFull; ) {
    const points = reader.points({ from: next, to }, deviceId)
    if (points === undefined) return
    const page = await readPage(reader, flux`${points} |> ${wanted} |> limit(n: ${ofTable})`, ofTable)
    for (const time of page.merger.times()) {
      if (page.end !== undefined && time > page.end) break
      const second = Number(time / 1_000_000_000n)
      for (const [name, value] of Object.entries(page.merger.reading(time).fields))
        aggregator.add(second, name, value)
    }
    if (page.end === undefined) return
    next = page.end + 1n
  }
}

/** @returns the time up to which the page has everything; undefined when it has all there is. */
async function readPage(
  reader: FluxReader,
  script: ParameterizedQuery,
  ofTable: number,
): Promise<{ merger: ReadingMerger; end: bigint | undefined }> {
  const merger = new ReadingMerger()
  const rowsOfTable = new Map<string, number>()
  let end: bigint | undefined
  await reader.rows(script, (row) => {
    merger.add(row)
    const table = seriesOf(row) + row.key
    const rows = (rowsOfTable.get(table) ?? 0) + 1
    rowsOfTable.set(table, rows)
    if (rows === ofTable && (end === undefined || row.time < end)) end = row.time
  })
  return { merger, end }
}
