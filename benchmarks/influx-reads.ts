/**
 * `npm run bench:influx-reads`: how long the questions of the functions take where InfluxDB keeps the telemetry, beside the
 * plainest query that gives the same rows, and an empty one.
 */
import { once } from 'node:events'
import { Agent, type IncomingMessage, request } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import { InfluxDB } from '@influxdata/influxdb-client'
import { BucketsAPI } from '@influxdata/influxdb-client-apis'
import { createLog } from '../lib/log.ts'
import { parseWindow, type WindowLength } from '../lib/telemetry/duration.ts'
import type { InfluxConnection } from '../lib/telemetry/influx/connection.ts'
import { prepareInflux } from '../lib/telemetry/influx/provision.ts'
import { openInfluxStore } from '../lib/telemetry/influx/store.ts'
import type { Reading } from '../lib/telemetry/reading.ts'
import type { Aggregation, TelemetryStore, TimeRange, WriteEntry } from '../lib/telemetry/store.ts'
import { windowBounds } from '../lib/telemetry/windows.ts'
import { numberArgument, parseOptions, runCommand, UsageError } from '../scripts/command.ts'
import { compareWithBound, type Figures, type GoalRow, isMet, writeRows } from './goal.ts'
import { BenchError, median, quantile } from './measure.ts'

const help = `Reads of the store on InfluxDB: p50, p95 and p99, beside a plain query for the same rows and an empty one.

  npm run bench:influx-reads -- [--readings 10000] [--rounds 7] [--only <part of a name>] [--json FILE]

  --readings <n>  of each of the 100 devices, one a minute; another device has 20 fields and sends ten times a second for
                  an hour
  --rounds <n>    of ten queries of each kind in a row (three of the medians), after two that do not count

Needs INFLUXDB_URL (http) and INFLUXDB_TOKEN. It fills a bucket of its own and deletes it in the end.
`

const devices = 100
/** The device that has 20 fields. */
const wideDevice = devices + 1
const wideFields = 20
const wideReadings = 36_000
const perWrite = 5000

const minuteNs = 60_000_000_000n
const hourNs = 60n * minuteNs

interface Stage {
  readonly store: TelemetryStore
  readonly at: InfluxConnection
  readonly agent: Agent
  /** Readings of each device but the wide one. */
  readonly readings: number
  /** Of the newest readings, ns since the epoch: a whole hour. */
  readonly end: bigint
}

const climate = (n: number): Reading['fields'] => ({
  temperature: 20 + (n % 1000) / 100,
  humidity: 40 + (n % 400) / 10,
  pressure: 1013 + (n % 97) / 10,
  battery_level: 87,
  signal_strength: -52 - (n % 7),
})

const wide = (n: number): Reading['fields'] =>
  Object.fromEntries(
    Array.from({ length: wideFields }, (_, at) => [`channel_${at}`, at + ((n * 7919) % 1000) / 100]),
  )

/** @param stepNs between two readings; the last one is a step before the end. */
const readingsUntil = (
  end: bigint,
  stepNs: bigint,
  { first, count, of }: { first: number; count: number; of: number },
  fieldsOf: (n: number) => Reading['fields'],
  metadata: Reading['metadata'],
): Reading[] =>
  Array.from({ length: count }, (_, n) => ({
    time: end - BigInt(of - first - n) * stepNs,
    fields: fieldsOf(first + n),
    metadata,
  }))

const write = async (
  store: TelemetryStore,
  deviceId: number,
  readings: readonly Reading[],
): Promise<void> => {
  const entry: WriteEntry = {
    deviceId,
    deviceType: 'bench_sensor',
    location: 'Living Room',
    receivedAt: Date.now(),
    readings,
  }
  const [outcome] = await store.write([entry])
  if (outcome === undefined || 'unavailable' in outcome || outcome.refused.length > 0)
    throw new BenchError('InfluxDB did not take the readings')
}

/** Writes device by device in the order of time, as messages that waited in a broker come. */
async function fill({ store, readings, end }: Stage): Promise<void> {
  const metadata = { sensor_status: 'active', unit: 'SI' }
  for (let first = 0; first < readings; first += perWrite) {
    const slice = { first, count: Math.min(perWrite, readings - first), of: readings }
    for (let id = 1; id <= devices; id += 1)
      await write(store, id, readingsUntil(end, minuteNs, slice, climate, metadata))
  }
  for (let first = 0; first < wideReadings; first += perWrite) {
    const slice = { first, count: Math.min(perWrite, wideReadings - first), of: wideReadings }
    await write(store, wideDevice, readingsUntil(end, 100_000_000n, slice, wide, undefined))
  }
}

/** Seconds in a row without a compaction: then there is none that waits. */
const restS = 5
const mostRestS = 120

/** Compactions that run now, by InfluxDB's own metrics. */
async function compactions({ at }: Stage): Promise<number> {
  const response = await fetch(`${at.url}/metrics`)
  let running = 0
  for (const line of (await response.text()).split('\n'))
    if (line.startsWith('storage_compactions_active{')) running += Number(line.slice(line.lastIndexOf(' ')))
  return running
}

/** Waits until InfluxDB has compacted what was written: until then each query takes twice its time. @throws {BenchError} */
async function settle(stage: Stage): Promise<void> {
  let rested = 0
  for (let second = 0; rested < restS; second += 1) {
    if (second === mostRestS)
      throw new BenchError(`InfluxDB still compacts ${mostRestS} s after the last write`)
    await pause(1000)
    rested = (await compactions(stage)) === 0 ? rested + 1 : 0
  }
}

interface Question {
  readonly name: string
  /** p50 of the goal, ms; undefined where there is none. */
  readonly goalMs: number | undefined
  /** Queries in a row, where they are slow. */
  readonly queries?: number
  /** @param at counts the queries. @returns rows, values or windows of the answer. */
  ask(stage: Stage, at: number): Promise<number>
  /** Everything that the answer needs, without a step more than that. */
  floor(stage: Stage, at: number): string
}

/** Devices that are asked again and again, as open pages do. */
const watched = 10
const deviceOf = (at: number) => 1 + (at % watched)
/** A device that was not asked for before, as far as there are such. */
const nextDevice = (at: number) => watched + 1 + (at % (devices - watched))

const plain = ({ at, end }: Stage, deviceId: number, from: bigint, fields = '') =>
  `from(bucket: "${at.bucket}") |> range(start: time(v: ${from}), stop: time(v: ${end}))` +
  ` |> filter(fn: (r) => r._measurement == "device_telemetry" and r.device_id == "${deviceId}"${fields})`

const windowsOf = (
  stage: Stage,
  deviceId: number,
  field: string | undefined,
  length: string,
  aggregation: Aggregation,
) => {
  const range: TimeRange = { from: stage.end - (length === '1h' ? 24n * hourNs : hourNs), to: stage.end }
  const bounds = windowBounds(parseWindow(length) as WindowLength, 'UTC', range)
  return stage.store.aggregate({ deviceId, field, aggregation, bounds, ...range })
}

const questions: readonly Question[] = [
  {
    name: 'latest',
    goalMs: 3,
    ask: async ({ store, end }, at) =>
      Object.keys((await store.latest(deviceOf(at), end))?.fields ?? {}).length,
    floor: (stage, at) => `${plain(stage, deviceOf(at), stage.end - minuteNs)} |> last()`,
  },
  {
    name: 'latest, first time',
    goalMs: undefined,
    ask: async ({ store, end }, at) =>
      Object.keys((await store.latest(nextDevice(at), end))?.fields ?? {}).length,
    floor: (stage, at) => `${plain(stage, nextDevice(at), stage.end - minuteNs)} |> last()`,
  },
  {
    name: 'last 100',
    goalMs: 15,
    ask: async ({ store, end }, at) => {
      const deviceId = deviceOf(at)
      return (
        await store.history({ deviceId, from: 0n, to: end, fields: undefined, limit: 100, order: 'desc' })
      ).length
    },
    floor: (stage, at) => plain(stage, deviceOf(at), stage.end - 100n * minuteNs),
  },
  {
    name: '24 hourly means',
    goalMs: 10,
    ask: async (stage, at) => (await windowsOf(stage, deviceOf(at), 'temperature', '1h', 'mean')).length,
    floor: (stage, at) =>
      plain(stage, deviceOf(at), stage.end - 24n * hourNs, ' and r._field == "temperature"'),
  },
  {
    name: 'medians of 20 fields',
    goalMs: 1000,
    queries: 3,
    ask: async (stage) => (await windowsOf(stage, wideDevice, undefined, '1m', 'median')).length * wideFields,
    floor: (stage) => plain(stage, wideDevice, stage.end - hourNs),
  },
]

/** A query without any library: the answer is read and not parsed. @returns ms. @throws {BenchError} */
async function askPlainly({ at, agent }: Stage, query: string): Promise<number> {
  const body = JSON.stringify({ query, dialect: { annotations: [], header: true } })
  const begin = performance.now()
  const asked = request(`${at.url}/api/v2/query?org=${encodeURIComponent(at.org)}`, {
    agent,
    method: 'POST',
    headers: { Authorization: `Token ${at.token}`, 'Content-Type': 'application/json' },
  })
  asked.end(body)
  const [response] = (await once(asked, 'response')) as [IncomingMessage]
  let bytes = 0
  for await (const chunk of response) bytes += (chunk as Buffer).length
  const ms = performance.now() - begin
  if (response.statusCode !== 200 || bytes === 0)
    throw new BenchError(`HTTP ${response.statusCode} to: ${query}`)
  return ms
}

const figuresOf = (name: string, times: readonly number[]): Figures => {
  const sorted = [...times].sort((one, other) => one - other)
  return { name, p50: median(sorted), p95: quantile(sorted, 0.95), p99: quantile(sorted, 0.99) }
}

/** Rounds that do not count: each watched device has been asked for then, and the code of this process is compiled. */
const warmUp = 2
/** Queries of one kind in a row: Flux leaves InfluxDB work that would be measured with the next query of another kind. */
const perTurn = 10
const command = 'npm run bench:influx-reads'

async function measure(stage: Stage, question: Question, rounds: number): Promise<GoalRow | undefined> {
  const [ours, floors, empties]: [number[], number[], number[]] = [[], [], []]
  const empty = plain(stage, 0, stage.end - minuteNs)
  let found = 0
  const ask = async (at: number): Promise<number> => {
    const begin = performance.now()
    found = await question.ask(stage, at)
    if (found === 0) throw new BenchError(`${question.name}: the answer is empty`)
    return performance.now() - begin
  }
  const turns: readonly [number[], (at: number) => Promise<number>][] = [
    [ours, ask],
    [floors, (at) => askPlainly(stage, question.floor(stage, at))],
    [empties, () => askPlainly(stage, empty)],
  ]
  const { queries = perTurn } = question
  const medians: number[] = []
  // By turns, so that what disturbs one disturbs the others, too.
  for (let round = 0; round < warmUp + rounds; round += 1) {
    for (const [times, run] of turns)
      for (let at = round * queries; at < (round + 1) * queries; at += 1) times.push(await run(at))
    if (round < warmUp) for (const [times] of turns) times.length = 0
    else medians.push(median(ours.slice(-queries)))
  }
  const cells = [ours, floors, empties].map((times) => {
    const { p50 = 0, p95 = 0, p99 = 0 } = figuresOf('', times)
    return [p50, p95, p99].map((ms) => ms.toFixed(1).padStart(8)).join('')
  })
  process.stdout.write(`${question.name.padEnd(22)}${String(found).padStart(6)}${cells.join('  ')}\n`)
  if (question.goalMs === undefined) return undefined
  return {
    scenario: `InfluxDB: ${question.name}`,
    goal: `at most ${question.goalMs} ms`,
    bound: 1,
    side: 'most',
    ratio: compareWithBound(medians, question.goalMs),
    ours: figuresOf('the store', ours),
    floor: figuresOf('a plain query', floors),
    command,
  }
}

/** Runs `work` with a store in a bucket of its own, which is deleted afterwards. @throws {UsageError} without INFLUXDB_URL. */
async function withBucket(readings: number, work: (stage: Stage) => Promise<void>): Promise<void> {
  const { INFLUXDB_URL: url, INFLUXDB_TOKEN: token, INFLUXDB_ORG: org = 'iotflow' } = process.env
  if (url === undefined || token === undefined)
    throw new UsageError('INFLUXDB_URL and INFLUXDB_TOKEN must name an InfluxDB.')
  const log = createLog('error')
  const at = { url, token, org, bucket: `iotflow-bench-reads-${process.pid}-${Date.now()}` }
  await prepareInflux(at, 0, log)
  const store = openInfluxStore({ connection: at, log })
  const agent = new Agent({ keepAlive: true })
  const end = ((BigInt(Date.now()) * 1_000_000n) / hourNs) * hourNs
  try {
    await work({ store, at, agent, readings, end })
  } finally {
    agent.destroy()
    await store.close()
    const api = new BucketsAPI(new InfluxDB({ url, token }))
    const { buckets = [] } = await api.getBuckets({ org, name: at.bucket })
    for (const { id } of buckets) if (id) await api.deleteBucketsID({ bucketID: id })
  }
}

const run = async (): Promise<number> => {
  const { values } = parseOptions({
    options: {
      readings: { type: 'string', default: '10000' },
      rounds: { type: 'string', default: '7' },
      only: { type: 'string', default: '' },
      json: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  })
  if (values.help) {
    process.stdout.write(help)
    return 0
  }
  const readings = numberArgument('--readings', values.readings, { min: 100, max: 1_000_000, whole: true })
  const rounds = numberArgument('--rounds', values.rounds, { min: 1, max: 1000, whole: true })
  const asked = questions.filter(({ name }) => name.includes(values.only))
  await withBucket(readings, async (stage) => {
    const begin = performance.now()
    await fill(stage)
    const seconds = ((performance.now() - begin) / 1000).toFixed(0)
    await settle(stage)
    process.stdout.write(
      `${(readings * devices).toLocaleString('en')} readings written in ${seconds} s; ms:\n`,
    )
    process.stdout.write(
      `${'query'.padEnd(22)}  found     p50     p95     p99   plain p50     p95     p99   empty p50     p95     p99\n`,
    )
    const rows: GoalRow[] = []
    for (const question of asked) {
      const row = await measure(stage, question, rounds)
      if (row !== undefined) rows.push(row)
    }
    const missed = rows.filter((row) => !isMet(row)).map(({ scenario }) => scenario)
    if (missed.length > 0) process.stdout.write(`Over the goal: ${missed.join(', ')}\n`)
    if (values.json !== undefined) await writeRows(values.json, rows)
  })
  return 0
}

export const main = () => runCommand(run)
