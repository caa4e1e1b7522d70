/** The embedded telemetry store: readings in the tables of a libSQL database. */
import { AppError } from '../../errors.ts'
import { Aggregator, type FieldParts } from '../aggregation.ts'
import { type FieldValue, type Reading, sortedByName } from '../reading.ts'
import {
  type Aggregate,
  type AggregateQuery,
  allTime,
  type FieldSummary,
  type Freshness,
  firstSummaries,
  type HistoryQuery,
  type Latest,
  type LatestValue,
  type LatestValuesQuery,
  type ScanQuery,
  type StoredReading,
  type TelemetryStore,
  type TimeRange,
  type WriteEntry,
  type WriteOutcome,
} from '../store.ts'
import { type NewestValues, sliceOf } from './aggregate.ts'
import type { Row } from './connection.ts'
import type { EmbeddedDatabase } from './database.ts'
import { maxLatest } from './latest.ts'
import { readingRequests } from './reading-requests.ts'

const toReading = ([time, fields, metadata]: Row): Reading => ({
  time: time as bigint,
  fields: sortedByName(JSON.parse(fields as string) as Record<string, FieldValue>),
  metadata:
    metadata === null ? undefined : sortedByName(JSON.parse(metadata as string) as Record<string, string>),
})

/** Reads a value of `latest`. Earlier versions stored it with its SQL type instead of as JSON. */
const toValue = (type: unknown, value: unknown): FieldValue => {
  if (type === 'json') return JSON.parse(String(value)) as FieldValue
  if (type === 'true') return true
  if (type === 'false') return false
  return type === 'text' ? String(value) : Number(value)
}

/**
 * Asks for some of the devices at a time: other queries come in between.
 * @param ask gets the id of the last device of the slice before, and resolves with that of its own; null for the last slice.
 */
const eachSlice = async (ask: (after: number) => Promise<unknown>): Promise<void> => {
  let last: unknown = 0
  while (last !== null && last !== undefined) last = await ask(Number(last))
}

const onlyFields = (reading: Reading, names: readonly string[]): Reading => {
  const fields: Record<string, FieldValue> = {}
  for (const name of names) {
    const value = Object.hasOwn(reading.fields, name) ? reading.fields[name] : undefined
    if (value !== undefined) fields[name] = value
  }
  return { ...reading, fields: sortedByName(fields) }
}

export class EmbeddedStore implements TelemetryStore {
  readonly backend = 'embedded'
  readonly #database: EmbeddedDatabase

  constructor(database: EmbeddedDatabase) {
    database.learn(readingRequests)
    this.#database = database
  }

  async write(batch: readonly WriteEntry[]): Promise<WriteOutcome[]> {
    const outcomes = await this.#database.writer.write(batch)
    return outcomes.map((outcome) =>
      outcome instanceof AppError ? { unavailable: outcome } : { refused: [] },
    )
  }

  async history(query: HistoryQuery): Promise<Reading[]> {
    const { fields } = query
    const readings = (await this.#database.query('history', query)).map(toReading)
    return fields === undefined ? readings : readings.map((reading) => onlyFields(reading, fields))
  }

  async latest(deviceId: number, before: bigint): Promise<Latest | undefined> {
    const [newest, ...older] = await this.#database.query('latest', { deviceId })
    if (newest === undefined) return undefined
    const [, time, , values] = newest
    const fields = new Map(Object.entries(JSON.parse(values as string) as Reading['fields']))
    for (const [field, , type, value] of older)
      if (fields.size < maxLatest) fields.set(field as string, toValue(type, value))
    if ((time as bigint) >= before) return this.#latestBefore(deviceId, before, new Set(fields.keys()))
    return { time: time as bigint, fields: sortedByName(Object.fromEntries(fields)) }
  }

  async latestValues({ deviceIds, field, before }: LatestValuesQuery): Promise<Map<number, LatestValue>> {
    const found = new Map<number, LatestValue>()
    const rows = await this.#database.query('latestValues', { deviceIds, field })
    for (const [device, newest, inNewest, keptAt, type, kept] of rows) {
      const id = Number(device)
      if (inNewest === null && keptAt === null) continue
      if ((newest as bigint) >= before) {
        // A reading in the future hides older values.
        const query = { deviceId: id, from: 0n, to: before, fields: [field], limit: 1 } as const
        const [older] = await this.history({ ...query, order: 'desc' })
        const value = older?.fields[field]
        if (older !== undefined && value !== undefined) found.set(id, { time: older.time, value })
      } else if (inNewest !== null)
        found.set(id, { time: newest as bigint, value: JSON.parse(inNewest as string) as FieldValue })
      else found.set(id, { time: keptAt as bigint, value: toValue(type, kept) })
    }
    return found
  }

  /** Readings in the future hide older values from the table `latest`: this goes back until each field is found. */
  async #latestBefore(deviceId: number, before: bigint, missing: Set<string>): Promise<Latest | undefined> {
    const fields: Record<string, FieldValue> = {}
    let time: bigint | undefined
    for (let to = before; missing.size > 0 && to > 0n; ) {
      const range = { deviceId, from: 0n, to }
      const { found, edge } = sliceOf<NewestValues>(await this.#database.query('newestValues', range))
      time ??= found.time
      for (const [name, value] of found.values) if (missing.delete(name)) fields[name] = value
      to = edge
    }
    return time === undefined ? undefined : { time, fields: sortedByName(fields) }
  }

  async aggregate(query: AggregateQuery): Promise<Aggregate[]> {
    const aggregator = new Aggregator(query)
    // Slices, the oldest first: other queries come in between.
    for (let from = query.from; from < query.to && !aggregator.isFull; ) {
      const { found, edge } = sliceOf<FieldParts[]>(
        await this.#database.query('aggregate', { ...query, from }),
      )
      aggregator.take(found)
      from = edge
    }
    return aggregator.result()
  }

  async fields(deviceId: number): Promise<FieldSummary[]> {
    let fields = new Map<string, FieldSummary>()
    for (let { from, to } = allTime; from < to; ) {
      const { found, edge } = sliceOf<FieldSummary[]>(
        await this.#database.query('fields', { deviceId, from, to }),
      )
      for (const field of found) {
        const key = `${field.type} ${field.name}`
        fields.set(key, { ...field, first: fields.get(key)?.first ?? field.first })
      }
      fields = new Map(firstSummaries(fields.values()).map((field) => [`${field.type} ${field.name}`, field]))
      from = edge
    }
    return [...fields.values()]
  }

  remove(deviceId: number, { from, to }: TimeRange): Promise<void> {
    return this.#database.writer.change('remove', { deviceId, from, to })
  }

  async scan(query: ScanQuery): Promise<StoredReading[]> {
    return (await this.#database.query('scan', query)).map((row) => {
      const [, , , deviceType, location, receivedAt] = row
      return {
        ...toReading(row),
        deviceType: deviceType as string,
        location: location as string | null,
        receivedAt: Number(receivedAt),
      }
    })
  }

  async count(deviceId: number, { from, to }: TimeRange = allTime): Promise<number> {
    const [[count] = []] = await this.#database.query('countReadings', { deviceId, from, to })
    return Number(count ?? 0)
  }

  async devices(): Promise<number[]> {
    return (await this.#database.query('devices', {})).map(([id]) => Number(id))
  }

  async countSince(from: bigint, freshness?: Freshness): Promise<number> {
    let total = 0
    await eachSlice(async (after) => {
      const [[count, last] = []] = await this.#database.query('countSince', { from, after }, freshness)
      total += Number(count ?? 0)
      return last
    })
    return total
  }

  async countByMinute(from: number, until: number): Promise<Map<number, number>> {
    const counts = new Map<number, number>()
    await eachSlice(async (after) => {
      const [[last] = [], ...minutes] = await this.#database.query('countByMinute', { from, until, after })
      for (const [minute, count] of minutes) {
        const at = Number(minute) * 60_000
        counts.set(at, (counts.get(at) ?? 0) + Number(count))
      }
      return last
    })
    return counts
  }

  check(): Promise<void> {
    return this.#database.writer.check()
  }

  checkQueries(): Promise<void> {
    return this.#database.checkQueries()
  }

  close(): Promise<void> {
    return this.#database.close()
  }
}
