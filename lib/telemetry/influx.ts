/** The telemetry store on InfluxDB 2. Every Flux script is made by its tagged template; nothing a device sent is in one. */
import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import { setTimeout as pause } from 'node:timers/promises'
import {
  type FluxTableMetaData,
  flux,
  fluxDuration,
  fluxExpression,
  fluxInteger,
  HttpError,
  InfluxDB,
  type ParameterizedQuery,
  setLogger,
} from '@influxdata/influxdb-client'
import { BucketsAPI, DeleteAPI, OrgsAPI } from '@influxdata/influxdb-client-apis'
import { AppError } from '../errors.ts'
import type { Log } from '../log.ts'
import {
  type Collector,
  createCollector,
  decodeText,
  type Kind,
  keysOf,
  measurement,
  nameOf,
  type Row,
  receivedField,
  toLines,
} from './influx-points.ts'
import type { FieldValue } from './reading.ts'
import {
  type Aggregate,
  type AggregateQuery,
  type Aggregation,
  type HistoryQuery,
  type Latest,
  maxAggregates,
  type TelemetryStore,
  type TimeRange,
  tooManyValues,
} from './store.ts'
import { formatTime, parseTime } from './time.ts'
import { createWriteQueue, unavailable } from './write-queue.ts'

export interface InfluxConnection {
  /** http or https, without `/api/v2`. */
  readonly url: string
  readonly token: string
  readonly org: string
  readonly bucket: string
}

export interface InfluxOptions {
  at: InfluxConnection
  log: Log
  /** Readings that may wait to be written, in all. */
  maxWaiting?: number | undefined
  /** Characters that may wait to be written. */
  maxWaitingBytes?: number | undefined
  /** Queries that may be under way. */
  maxQueries?: number
  /** Milliseconds of silence after which a request is given up. */
  timeoutMs?: { write?: number; query?: number }
  /** How old the knowledge of the fields of others may be, ms. */
  fieldsMaxAgeMs?: number
}

/** Both below the 10 s that a function has. */
const timeouts = { write: 5000, query: 8000 }
/** How long an end waits for writes under way, ms. */
const closeMs = 1000
/** Connections without a request are closed before the server does it, which gives up theirs after 3 minutes. */
const idleMs = 60_000
/** Lines of this many bytes or fewer are not worth compressing. */
const gzipThreshold = 999
/** The last nanosecond InfluxDB can store. */
const maxTime = 2n ** 63n - 2n
/** Fields that the newest values are given of. */
const maxLatest = 1000

// The library writes what it was sent, values and all, to the console.
setLogger({ error: () => undefined, warn: () => undefined })

/** What the log shows of a failure: `HTTP_503`, `ECONNREFUSED`; the words of the server can hold values. */
export class InfluxFault extends Error {
  override readonly name = 'InfluxFault'
  readonly code: string
  constructor(error: unknown) {
    const { code, name } = error as { code?: unknown; name?: string }
    const word = error instanceof HttpError ? `HTTP_${error.statusCode}` : String(code ?? name ?? 'UNKNOWN')
    super(`InfluxDB: ${word}`)
    this.code = word
  }
}

/** Seconds that the server asks to be left alone for, as a number or a date; the library takes the one for ms and not the other. */
const retryAfterOf = (error: unknown): number => {
  const header = error instanceof HttpError ? String(error.headers?.['retry-after'] ?? '') : ''
  const seconds = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000
  return Math.min(3600, Math.max(2, Math.ceil(seconds || 0)))
}

const faultOf = (error: unknown): AppError => unavailable(new InfluxFault(error), retryAfterOf(error))

/** Answers by which InfluxDB refuses what was sent, and not the sender: the same again would be refused again. */
const isRefusal = (error: unknown) => error instanceof HttpError && [400, 413, 422].includes(error.statusCode)

const refused = (error: unknown) =>
  new AppError('VALIDATION_FAILED', 'The telemetry store refused the reading.', {
    cause: new InfluxFault(error),
  })

const agentOf = (url: string): HttpAgent => {
  const options = { keepAlive: true, timeout: idleMs }
  const agent = url.startsWith('https:') ? new HttpsAgent(options) : new HttpAgent(options)
  const connect = agent.createConnection.bind(agent)
  // The library gives up a silent request, but leaves its connection open.
  agent.createConnection = (to, callback) => {
    const socket = connect(to, callback)
    return socket?.on('timeout', () => socket.destroy())
  }
  return agent
}

const clientOf = ({ url, token }: InfluxConnection, agent: HttpAgent, timeout: number) =>
  new InfluxDB({ url, token, timeout, transportOptions: { agent } })

/**
 * Makes the bucket, or sets its retention; a token that may not change it leaves it as it is, with a warning.
 * @throws {InfluxFault}
 */
export async function prepareInflux(at: InfluxConnection, retentionMs: number, log: Log): Promise<void> {
  const agent = agentOf(at.url)
  const client = clientOf(at, agent, timeouts.query)
  const everySeconds = Math.round(retentionMs / 1000)
  const retentionRules = [{ type: 'expire' as const, everySeconds }]
  try {
    const buckets = new BucketsAPI(client)
    const found = await buckets.getBuckets({ org: at.org, name: at.bucket }).catch((error: unknown) => {
      if (error instanceof HttpError && error.statusCode === 404) return { buckets: [] }
      throw error
    })
    const [bucket] = found.buckets ?? []
    if (bucket?.id === undefined) {
      const { orgs } = await new OrgsAPI(client).getOrgs({ org: at.org })
      const orgID = orgs?.[0]?.id ?? ''
      await buckets.postBuckets({ body: { orgID, name: at.bucket, retentionRules } })
      log.info('bucket made', { bucket: at.bucket, retention_s: everySeconds })
    } else if ((bucket.retentionRules[0]?.everySeconds ?? 0) !== everySeconds) {
      await buckets.patchBucketsID({ bucketID: bucket.id, body: { retentionRules } }).then(
        () => log.info('retention of the bucket changed', { bucket: at.bucket, retention_s: everySeconds }),
        (error: unknown) => {
          if (!(error instanceof HttpError && [401, 403].includes(error.statusCode))) throw error
          log.warn('the token may not change the retention of the bucket', { bucket: at.bucket })
        },
      )
    }
  } catch (error) {
    throw new InfluxFault(error)
  } finally {
    agent.destroy()
  }
}

const windowed: Record<Aggregation, string> = {
  mean: 'mean',
  sum: 'sum',
  count: 'count',
  min: 'min',
  max: 'max',
  first: 'first',
  last: 'last',
  median: '(column, tables=<-) => tables |> median(column: column, method: "exact_mean")',
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0)

/** Of values in the order of their times; at least one. */
const aggregated: Record<Aggregation, (values: readonly number[]) => number> = {
  mean: (values) => sum(values) / values.length,
  sum,
  count: (values) => values.length,
  min: (values) => values.reduce((least, value) => Math.min(least, value)),
  max: (values) => values.reduce((most, value) => Math.max(most, value)),
  first: (values) => values[0] as number,
  last: (values) => values.at(-1) as number,
  median: (values) => {
    const sorted = values.toSorted((one, other) => one - other)
    const [low, high] = [sorted[(sorted.length - 1) >> 1] as number, sorted[sorted.length >> 1] as number]
    return (low + high) / 2
  },
}

const floor = (time: bigint, window: bigint) => time - (time % window)

/** Values by window and field, given out with the newest window first. */
const createWindows = () => {
  const windows = new Map<bigint, Record<string, number>>()
  let count = 0
  return {
    set(time: bigint, name: string, value: number) {
      const values = windows.get(time) ?? {}
      windows.set(time, values)
      values[name] = value
      count += 1
      if (count > maxAggregates) throw tooManyValues()
    },
    list: (): Aggregate[] =>
      [...windows]
        .sort(([one], [other]) => (one < other ? 1 : -1))
        .map(([time, values]) => ({ time, values })),
  }
}

export function openInfluxStore(options: InfluxOptions): TelemetryStore {
  const { at, log, maxWaiting, maxWaitingBytes, maxQueries = 200, fieldsMaxAgeMs = 60_000 } = options
  const { org, bucket } = at
  const agent = agentOf(at.url)
  const timeoutMs = { ...timeouts, ...options.timeoutMs }
  const writer = clientOf(at, agent, timeoutMs.write)
  const reader = clientOf(at, agent, timeoutMs.query)
  const queries = reader.getQueryApi(org)
  let underWay = 0

  /** Hands each row of the answer to `each`. @throws {AppError} UNAVAILABLE */
  const query = async (
    script: ParameterizedQuery,
    each: (get: (column: string) => unknown) => void,
  ): Promise<void> => {
    if (underWay >= maxQueries) throw unavailable()
    underWay += 1
    try {
      await new Promise<void>((resolve, reject) => {
        queries.queryRows(script, {
          next: (values: string[], meta: FluxTableMetaData) => {
            // What fails after the answer began can only be told in the answer.
            if (meta.columns[0]?.label === 'error') throw new InfluxFault({ code: 'FLUX_ERROR' })
            each((column) => meta.get(values, column) as unknown)
          },
          error: reject,
          complete: resolve,
        })
      })
    } catch (error) {
      if (error instanceof AppError) throw error
      const fault = faultOf(error)
      log.error('a telemetry query failed', { error: fault.cause })
      throw fault
    } finally {
      underWay -= 1
    }
  }

  const instant = (time: bigint) => fluxExpression(`time(v: ${fluxInteger(String(time))})`)

  /** What one device, or all, have in a range; undefined for a range that holds nothing. */
  const source = ({ from, to }: TimeRange, deviceId?: number): ParameterizedQuery | undefined => {
    const start = from < 0n ? 0n : from
    const stop = to > maxTime ? maxTime : to
    if (start >= stop) return undefined
    const device = deviceId === undefined ? flux`` : flux` and r.device_id == ${String(deviceId)}`
    return flux`from(bucket: ${bucket}) |> range(start: ${instant(start)}, stop: ${instant(stop)})
      |> filter(fn: (r) => r._measurement == ${measurement}${device})`
  }

  const toRow = (get: (column: string) => unknown): Row => {
    const value = get('_value') as FieldValue
    return {
      time: parseTime(get('_time')) ?? 0n,
      key: String(get('_field')),
      value: typeof value === 'string' ? decodeText(value) : value,
      deviceType: decodeText(String(get('device_type') ?? '')),
      location: get('location') ? decodeText(String(get('location'))) : null,
    }
  }
  const columns = fluxExpression('columns: ["_time", "_field", "_value", "device_type", "location"]')

  const collect = async (script: ParameterizedQuery, collector: Collector, only?: Set<bigint>) => {
    await query(flux`${script} |> keep(${columns})`, (get) => {
      const row = toRow(get)
      if (only === undefined || only.has(row.time)) collector.add(row)
    })
    return collector
  }

  /** Adds everything that the points of these times have. */
  const completePoints = async (deviceId: number, times: readonly bigint[], collector: Collector) => {
    for (let at = 0; at < times.length; at += 50) {
      const points = times.slice(at, at + 50).flatMap((time, n) => {
        const point = source({ from: time, to: time + 1n }, deviceId)
        return point ? [flux`${point} |> keep(${columns}) |> yield(name: ${String(n)})`.toString()] : []
      })
      if (points.length > 0)
        await query(fluxExpression(points.join('\n')), (get) => collector.add(toRow(get)))
    }
  }

  /** Flux takes no deep nesting, and more than 200 alternatives in a row are one. */
  const anyOf = (terms: readonly string[]): string => {
    if (terms.length <= 50) return terms.join(' or ')
    const half = terms.length >> 1
    return `(${anyOf(terms.slice(0, half))}) or (${anyOf(terms.slice(half))})`
  }
  const oneOf = (keys: readonly string[]) =>
    fluxExpression(`filter(fn: (r) => ${anyOf(keys.map((key) => flux`r._field == ${key}`.toString()))})`)
  const noValue = fluxExpression('filter(fn: (r) => r._field =~ /^(meta_.*|received_at)$/)')

  // --- Fields with values of several kinds ---------------------------------------------------------------------

  const known = new Map<string, Set<Kind>>()
  let knownAt = Number.NEGATIVE_INFINITY
  let learning: Promise<void> | undefined
  const note = (name: string, kind: Kind): Set<Kind> => {
    const seen = known.get(name) ?? new Set<Kind>()
    known.set(name, seen)
    return seen.add(kind)
  }
  const learnFields = async () => {
    const script = flux`import "influxdata/influxdb/schema"
      schema.measurementFieldKeys(bucket: ${bucket}, measurement: ${measurement}, start: ${instant(0n)})`
    await query(script, (get) => {
      const found = nameOf(String(get('_value')))
      if (found) note(found.name, found.kind)
    })
    knownAt = performance.now()
  }
  /** Resolves when the fields are known that others wrote before; later looks do not hold up the writes. */
  const fieldsKnown = async () => {
    const first = knownAt === Number.NEGATIVE_INFINITY
    if (performance.now() - knownAt < fieldsMaxAgeMs) return
    learning ??= learnFields().finally(() => {
      learning = undefined
    })
    if (first) await learning
    else learning.catch(() => undefined)
  }

  // --- Writing --------------------------------------------------------------------------------------------------

  const send = async (lines: readonly string[]) => {
    const batch = { batchSize: lines.length + 1, maxBatchBytes: Number.MAX_SAFE_INTEGER }
    // Whoever sent the reading tries again: waiting here would only hold up the others.
    const api = writer.getWriteApi(org, bucket, 'ns', {
      ...batch,
      flushInterval: 0,
      maxRetries: 0,
      gzipThreshold,
    })
    api.writeRecords([...lines])
    await api.flush()
  }

  /** Halves a group that is refused until what is at fault is alone. */
  const writeMessages = async (
    messages: readonly (readonly string[])[],
    from: number,
    failed: Map<number, AppError>,
  ): Promise<void> => {
    try {
      await send(messages.flat())
    } catch (error) {
      const half = messages.length >> 1
      if (half > 0 && isRefusal(error)) {
        await writeMessages(messages.slice(0, half), from, failed)
        await writeMessages(messages.slice(half), from + half, failed)
        return
      }
      const fault = isRefusal(error) ? refused(error) : faultOf(error)
      for (const at of messages.keys()) failed.set(from + at, fault)
    }
  }

  const queue = createWriteQueue<readonly string[], undefined>({
    log,
    maxWaiting,
    maxWaitingBytes,
    async write(messages) {
      const failed = new Map<number, AppError>()
      await writeMessages(messages, 0, failed)
      return messages.map((_, at) => failed.get(at))
    },
  })

  // --- Reading --------------------------------------------------------------------------------------------------

  /** How many series a device's points are in, and whether a field has values of several kinds. */
  const shapeOf = async (range: ParameterizedQuery) => {
    const series = new Set<string>()
    const names = new Set<string>()
    let mixed = false
    await query(flux`${range} |> first() |> keep(${columns})`, (get) => {
      const row = toRow(get)
      series.add(JSON.stringify([row.deviceType, row.location]))
      const { name } = nameOf(row.key) ?? {}
      if (name === undefined) return
      // The same name in two series is no mixture, but then points have to be merged anyway.
      mixed ||= names.has(name)
      names.add(name)
    })
    return { plain: series.size <= 1 && !mixed }
  }

  /** Windows over points that have to be merged first. */
  const aggregateMerged = async (range: ParameterizedQuery, ask: AggregateQuery): Promise<Aggregate[]> => {
    const { field, window, aggregation } = ask
    const script = field === undefined ? range : flux`${range} |> ${oneOf([...keysOf(field), receivedField])}`
    const collector = await collect(script, createCollector())
    const groups = new Map<bigint, Map<string, number[]>>()
    for (const time of collector.times()) {
      const start = floor(time, window)
      const group = groups.get(start) ?? new Map<string, number[]>()
      groups.set(start, group)
      for (const [name, value] of Object.entries(collector.reading(time).fields)) {
        if (typeof value !== 'number') continue
        const values = group.get(name)
        if (values) values.push(value)
        else group.set(name, [value])
      }
    }
    const windows = createWindows()
    for (const [time, group] of groups)
      for (const [name, values] of group) windows.set(time, name, aggregated[aggregation](values))
    return windows.list()
  }

  /** How many of the points have a time of their own among those of their device, of each device. */
  const countTimes = async (points: ParameterizedQuery): Promise<number> => {
    const [single, several] = [new Map<string, number>(), new Set<string>()]
    const ofDevice = fluxExpression('columns: ["device_id"]')
    await query(flux`${points} |> count() |> keep(columns: ["device_id", "_value"])`, (get) => {
      const id = String(get('device_id'))
      if (single.has(id)) several.add(id)
      single.set(id, Number(get('_value')))
    })
    for (const id of several) single.delete(id)
    let total = sum([...single.values()])
    const rest = [...several]
    while (rest.length > 0) {
      const devices = rest.splice(0, 20).map((id) => flux`r.device_id == ${id}`.toString())
      const ofThese = fluxExpression(`filter(fn: (r) => ${anyOf(devices)})`)
      await query(
        flux`${points} |> ${ofThese} |> group(${ofDevice}) |> distinct(column: "_time") |> toInt() |> count()`,
        (get) => {
          total += Number(get('_value'))
        },
      )
    }
    return total
  }

  const countPoints = async (range: ParameterizedQuery | undefined): Promise<number> =>
    range === undefined ? 0 : countTimes(flux`${range} |> ${oneOf([receivedField])}`)

  return {
    backend: 'influxdb',

    async write(entry) {
      await fieldsKnown()
      const lines = toLines(entry, (name, kind) => note(name, kind).size > 1)
      const characters = lines.reduce((total, line) => total + line.length + 1, 0)
      await queue.add({ value: lines, count: lines.length, characters })
    },

    async history({ deviceId, fields, limit, order, ...range }: HistoryQuery) {
      const all = source(range, deviceId)
      if (all === undefined) return []
      const wanted = fields === undefined ? all : flux`${all} |> ${oneOf(fields.flatMap(keysOf))}`
      // The first points of each series hold those of the first readings, the last ones those of the last.
      const part = fluxExpression(order === 'asc' ? 'limit' : 'tail')
      const collector = await collect(flux`${wanted} |> ${part}(n: ${limit})`, createCollector())
      const found = collector.times()
      const times = (order === 'asc' ? found : found.reverse()).slice(0, limit)
      const [first, last] = [times[0], times.at(-1)]
      if (first === undefined || last === undefined) return []
      if (fields !== undefined) {
        const [from, to] = first < last ? [first, last] : [last, first]
        const rest = source({ from, to: to + 1n }, deviceId)
        if (rest) await collect(flux`${rest} |> ${noValue}`, collector, new Set(times))
      }
      return times.map((time) => collector.reading(time))
    },

    async latest(deviceId): Promise<Latest | undefined> {
      const all = source({ from: 0n, to: maxTime }, deviceId)
      if (all === undefined) return undefined
      const collector = await collect(flux`${all} |> last()`, createCollector())
      // Of those points the newest arrival need not be among the rows: it may have been followed by another.
      await completePoints(deviceId, collector.contested(), collector)
      // From the newest back: the first value of a field that is met is its newest.
      const times = collector.times().reverse()
      const newest = times[0]
      if (newest === undefined) return undefined
      const fields: Record<string, FieldValue> = {}
      let count = 0
      for (const time of times) {
        const at = Object.entries(collector.reading(time).fields).sort(([one], [other]) =>
          one < other ? -1 : 1,
        )
        for (const [name, value] of at) {
          if (Object.hasOwn(fields, name) || count === maxLatest) continue
          fields[name] = value
          count += 1
        }
      }
      return { time: newest, fields }
    },

    async aggregate(ask) {
      const { deviceId, field, aggregation, window } = ask
      const range = source(ask, deviceId)
      if (range === undefined) return []
      const asked = field === undefined ? range : flux`${range} |> ${oneOf(keysOf(field))}`
      if (!(await shapeOf(asked)).plain) return aggregateMerged(range, ask)
      const numbers =
        field === undefined
          ? flux`${range} |> filter(fn: (r) => r._field !~ /^(meta_.*|received_at|.*[|].*)$/)`
          : flux`${range} |> ${oneOf([field])}`
      const windows = createWindows()
      const script = flux`${numbers}
        |> aggregateWindow(every: ${fluxDuration(`${window}ns`)}, fn: ${fluxExpression(windowed[aggregation])},
             createEmpty: false, timeSrc: "_start")
        |> keep(columns: ["_time", "_field", "_value"])`
      await query(script, (get) => {
        // The first window begins where the range does.
        const time = floor(parseTime(get('_time')) ?? 0n, window)
        windows.set(time, String(get('_field')), Number(get('_value')))
      })
      return windows.list()
    },

    async remove(deviceId, { from, to }) {
      const [start, stop] = [from < 0n ? 0n : from, to > maxTime ? maxTime : to]
      if (start >= stop) return
      const body = {
        start: formatTime(start),
        stop: formatTime(stop - 1n),
        predicate: `_measurement="${measurement}" AND device_id="${Number(deviceId)}"`,
      }
      try {
        await new DeleteAPI(writer).postDelete({ org, bucket, body })
      } catch (error) {
        throw faultOf(error)
      }
    },

    async scan({ deviceId, limit, ...range }) {
      const all = source(range, deviceId)
      if (all === undefined) return []
      const collector = await collect(flux`${all} |> limit(n: ${limit})`, createCollector())
      const times = collector.times().slice(0, limit)
      return times.map((time) => collector.stored(time))
    },

    count: (deviceId, range = { from: 0n, to: maxTime }) => countPoints(source(range, deviceId)),

    async devices() {
      const all = source({ from: 0n, to: maxTime })
      if (all === undefined) return []
      const devices = new Set<number>()
      const script = flux`${all} |> ${oneOf([receivedField])} |> last() |> keep(columns: ["device_id"])`
      await query(script, (get) => devices.add(Number(get('device_id'))))
      return [...devices].sort((one, other) => one - other)
    },

    countSince: (from) => countPoints(source({ from, to: maxTime })),

    async check() {
      const now = BigInt(Date.now()) * 1_000_000n
      const last = source({ from: now - 1_000_000_000n, to: now }, 0)
      if (last) await query(flux`${last} |> limit(n: 1)`, () => undefined)
    },

    async close() {
      // What stands in a spool stays there when it could not be written.
      await Promise.race([queue.close(), pause(closeMs, undefined, { ref: false })])
      agent.destroy()
      await learning?.catch(() => undefined)
    },
  }
}
