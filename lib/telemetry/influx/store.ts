/** The telemetry store on InfluxDB 2. */
import type { Agent } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import { flux, type InfluxDB } from '@influxdata/influxdb-client'
import { DeleteAPI } from '@influxdata/influxdb-client-apis'
import type { Log } from '../../log.ts'
import type { Reading } from '../reading.ts'
import type {
  Aggregate,
  AggregateQuery,
  FieldSummary,
  HistoryQuery,
  Latest,
  ScanQuery,
  StoredReading,
  TelemetryStore,
  TimeRange,
  WriteEntry,
  WriteOutcome,
} from '../store.ts'
import { formatTime } from '../time.ts'
import { aggregateReadings } from './aggregate.ts'
import { createAgent, createClient, type InfluxConnection, requestTimeouts } from './connection.ts'
import { countReadings, listDevices } from './count.ts'
import { unavailableFor } from './faults.ts'
import { measurement } from './field-keys.ts'
import { FieldKinds } from './field-kinds.ts'
import { allInfluxTimes, clampRange, FluxReader, instant, lastInfluxTime } from './flux.ts'
import { readFields, readHistory, readLatest, scanReadings } from './readings.ts'
import { InfluxWriter } from './write.ts'

export interface InfluxOptions {
  connection: InfluxConnection
  log: Log
  /** Queries that may run at the same time. */
  maxQueries?: number
  /** Milliseconds without a byte after which a request fails. */
  timeoutMs?: { write?: number; query?: number }
  /** How old the knowledge of the fields that other processes wrote may become, ms. */
  fieldsMaxAgeMs?: number
}

/** Milliseconds that {@link InfluxStore.close} waits for running writes; unfinished ones stay in the spool. */
const closeMs = 1000

export class InfluxStore implements TelemetryStore {
  readonly backend = 'influxdb'
  readonly #connection: InfluxConnection
  readonly #agent: Agent
  readonly #client: InfluxDB
  readonly #reader: FluxReader
  readonly #kinds: FieldKinds
  readonly #writer: InfluxWriter

  constructor({ connection, log, maxQueries = 200, timeoutMs, fieldsMaxAgeMs = 60_000 }: InfluxOptions) {
    this.#connection = connection
    this.#agent = createAgent(connection.url)
    this.#client = createClient(connection, this.#agent, timeoutMs?.write ?? requestTimeouts.write)
    const queryClient = createClient(connection, this.#agent, timeoutMs?.query ?? requestTimeouts.query)
    this.#reader = new FluxReader(queryClient, connection, log, maxQueries)
    this.#kinds = new FieldKinds((each) => this.#loadFieldKeys(each), fieldsMaxAgeMs)
    this.#writer = new InfluxWriter(this.#client, connection, this.#kinds, log)
  }

  write(batch: readonly WriteEntry[]): Promise<readonly WriteOutcome[]> {
    return this.#writer.write(batch)
  }

  history(query: HistoryQuery): Promise<Reading[]> {
    return readHistory(this.#reader, query)
  }

  latest(deviceId: number, before: bigint): Promise<Latest | undefined> {
    return readLatest(this.#reader, deviceId, before)
  }

  aggregate(query: AggregateQuery): Promise<Aggregate[]> {
    return aggregateReadings(this.#reader, query)
  }

  fields(deviceId: number): Promise<FieldSummary[]> {
    return readFields(this.#reader, deviceId)
  }

  scan(query: ScanQuery): Promise<StoredReading[]> {
    return scanReadings(this.#reader, query)
  }

  count(deviceId: number, range: TimeRange = allInfluxTimes): Promise<number> {
    return countReadings(this.#reader, range, deviceId)
  }

  countSince(from: bigint): Promise<number> {
    return countReadings(this.#reader, { from, to: lastInfluxTime })
  }

  devices(): Promise<number[]> {
    return listDevices(this.#reader)
  }

  async remove(deviceId: number, range: TimeRange): Promise<void> {
    const clamped = clampRange(range)
    if (clamped === undefined) return
    const { org, bucket } = this.#connection
    const body = {
      start: formatTime(clamped.from),
      // The API of InfluxDB deletes its end, too.
      stop: formatTime(clamped.to - 1n),
      predicate: `_measurement="${measurement}" AND device_id="${Number(deviceId)}"`,
    }
    try {
      await new DeleteAPI(this.#client).postDelete({ org, bucket, body })
    } catch (error) {
      throw unavailableFor(error)
    }
  }

  async check(): Promise<void> {
    const now = BigInt(Date.now()) * 1_000_000n
    const lastSecond = this.#reader.points({ from: now - 1_000_000_000n, to: now }, 0)
    if (lastSecond) await this.#reader.query(flux`${lastSecond} |> limit(n: 1)`, () => undefined)
  }

  async close(): Promise<void> {
    await Promise.race([this.#writer.close(), pause(closeMs, undefined, { ref: false })])
    this.#agent.destroy()
    await this.#kinds.close()
  }

  async #loadFieldKeys(each: (key: string) => void): Promise<void> {
    const script = flux`import "influxdata/influxdb/schema"
      schema.measurementFieldKeys(bucket: ${this.#connection.bucket}, measurement: ${measurement}, start: ${instant(0n)})`
    await this.#reader.query(script, (column) => each(String(column('_value'))))
  }
}

export const openInfluxStore = (options: InfluxOptions): TelemetryStore => new InfluxStore(options)
