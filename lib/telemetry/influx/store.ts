/** The telemetry store on InfluxDB 2. */
import { flux, type InfluxDB } from '@influxdata/influxdb-client'
import { DeleteAPI } from '@influxdata/influxdb-client-apis'
import type { Reading } from '../reading.ts'
import type {
  Aggregate,
  AggregateQuery,
  FieldSummary,
  HistoryQuery,
  Latest,
  LatestValue,
  LatestValuesQuery,
  ScanQuery,
  StoredReading,
  TelemetryStore,
  TimeRange,
  WriteEntry,
  WriteOutcome,
} from '../store.ts'
import { formatTime } from '../time.ts'
import { aggregateReadings } from './aggregate.ts'
import type { InfluxConnection } from './connection.ts'
import { countReadings, listDevices } from './count.ts'
import { DeviceKeys } from './device-keys.ts'
import { unavailableFor } from './faults.ts'
import { measurement } from './field-keys.ts'
import { allInfluxTimes, clampRange, FluxReader, lastInfluxTime } from './flux.ts'
import { LatestReader } from './latest.ts'
import { PointReader } from './points.ts'
import { QueryGate } from './query-gate.ts'
import { readFields, readHistory, readLatestValues, scanReadings } from './readings.ts'
import { InfluxWrites, type InfluxWritesOptions } from './writes.ts'

export interface InfluxOptions extends InfluxWritesOptions {
  /** Queries that may run at the same time. */
  maxQueries?: number
  /** Keys of all devices up to which a query may name all of them. */
  fewKeys?: number
}

export class InfluxStore implements TelemetryStore {
  readonly backend = 'influxdb'
  readonly #connection: InfluxConnection
  readonly #client: InfluxDB
  readonly #reader: FluxReader
  readonly #points: PointReader
  readonly #deviceKeys: DeviceKeys
  readonly #latest: LatestReader
  readonly #writes: InfluxWrites

  /** @param writes of the same server, whose connections this uses; it is closed with this. */
  constructor(options: InfluxOptions, writes = new InfluxWrites(options)) {
    const { connection, log, maxQueries = 200, fewKeys = 150 } = options
    const { writing, querying } = writes.clients
    const gate = new QueryGate(log, maxQueries)
    this.#connection = connection
    this.#writes = writes
    this.#client = writing
    this.#reader = new FluxReader(querying, connection, gate)
    this.#points = new PointReader(querying, connection, gate)
    this.#deviceKeys = new DeviceKeys(this.#points, this.#reader, fewKeys)
    this.#latest = new LatestReader(this.#points, this.#reader, this.#deviceKeys)
  }

  write(batch: readonly WriteEntry[]): Promise<readonly WriteOutcome[]> {
    return this.#writes.write(batch)
  }

  history(query: HistoryQuery): Promise<Reading[]> {
    return readHistory(this.#points, this.#deviceKeys, query)
  }

  latest(deviceId: number, before: bigint): Promise<Latest | undefined> {
    return this.#latest.read(deviceId, before)
  }

  latestValues(query: LatestValuesQuery): Promise<Map<number, LatestValue>> {
    return readLatestValues(this.#reader, query)
  }

  aggregate(query: AggregateQuery): Promise<Aggregate[]> {
    return aggregateReadings(this.#points, this.#deviceKeys, query)
  }

  fields(deviceId: number): Promise<FieldSummary[]> {
    return readFields(this.#reader, deviceId)
  }

  scan(query: ScanQuery): Promise<StoredReading[]> {
    return scanReadings(this.#points, this.#deviceKeys, query)
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

  close(): Promise<void> {
    return this.#writes.close()
  }
}

export const openInfluxStore = (options: InfluxOptions): TelemetryStore => new InfluxStore(options)
