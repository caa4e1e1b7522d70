/** Tells how long the operations of a telemetry store take. */
import type {
  AggregateQuery,
  Freshness,
  HistoryQuery,
  LatestValuesQuery,
  ScanQuery,
  TelemetryStore,
  TimeRange,
  WriteEntry,
} from './store.ts'

/** `write` is timed where the store is not the embedded one, which is written in batches with its accounts. */
export type StoreOperation = Exclude<keyof TelemetryStore, 'backend' | 'checkQueries' | 'close'>

type Took = (operation: StoreOperation, ms: number) => void

const timed = async <T>(took: Took, operation: StoreOperation, work: Promise<T>): Promise<T> => {
  const began = performance.now()
  try {
    return await work
  } finally {
    took(operation, performance.now() - began)
  }
}

/** What {@link TimedStore} is to a store, for the part of one that only writes. */
export const timedWrites = (
  store: Pick<TelemetryStore, 'write'>,
  took: Took,
): Pick<TelemetryStore, 'write'> => ({
  write: (batch) => timed(took, 'write', store.write(batch)),
})

export class TimedStore implements TelemetryStore {
  readonly backend: TelemetryStore['backend']
  readonly checkQueries?: () => Promise<void>
  readonly countByMinute?: (from: number, until: number) => Promise<Map<number, number>>
  readonly #store: TelemetryStore
  readonly #took: Took

  /** @param took called after each operation, also after one that failed. */
  constructor(store: TelemetryStore, took: Took) {
    this.#store = store
    this.#took = took
    this.backend = store.backend
    if (store.checkQueries !== undefined)
      this.checkQueries = () => store.checkQueries?.() ?? Promise.resolve()
    if (store.countByMinute !== undefined)
      this.countByMinute = (from, until) =>
        this.#timed('countByMinute', store.countByMinute?.(from, until) ?? Promise.resolve(new Map()))
  }

  write = (batch: readonly WriteEntry[]) => this.#timed('write', this.#store.write(batch))
  history = (query: HistoryQuery) => this.#timed('history', this.#store.history(query))
  latest = (deviceId: number, before: bigint) => this.#timed('latest', this.#store.latest(deviceId, before))
  latestValues = (query: LatestValuesQuery) => this.#timed('latestValues', this.#store.latestValues(query))
  aggregate = (query: AggregateQuery) => this.#timed('aggregate', this.#store.aggregate(query))
  fields = (deviceId: number) => this.#timed('fields', this.#store.fields(deviceId))
  remove = (deviceId: number, range: TimeRange) => this.#timed('remove', this.#store.remove(deviceId, range))
  scan = (query: ScanQuery) => this.#timed('scan', this.#store.scan(query))
  count = (deviceId: number, range?: TimeRange) => this.#timed('count', this.#store.count(deviceId, range))
  devices = () => this.#timed('devices', this.#store.devices())
  countSince = (from: bigint, freshness?: Freshness) =>
    this.#timed('countSince', this.#store.countSince(from, freshness))
  check = () => this.#timed('check', this.#store.check())
  close = () => this.#store.close()

  #timed<T>(operation: StoreOperation, work: Promise<T>): Promise<T> {
    return timed(this.#took, operation, work)
  }
}
