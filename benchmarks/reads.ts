/** `npm run bench:reads`: queries of the embedded store, with few readings and with many, by turns. */
import { rmSync, statSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createLog } from '../lib/log.ts'
import { root } from '../lib/root.ts'
import { type Embedded, openEmbedded } from '../lib/telemetry/embedded/open.ts'
import { allTime, type TimeRange } from '../lib/telemetry/store.ts'
import { windowBounds } from '../lib/telemetry/windows.ts'
import { asksForHelp, numberArgument, parseOptions, runCommand, UsageError } from '../scripts/command.ts'
import { startCheckout } from './checkout.ts'
import { adminToken } from './dashboards.ts'
import { compareWithBound, type Figures, type GoalRow, writeRows } from './goal.ts'
import { fillStore, type StoreSize, stepS, wideDevice } from './large-store.ts'
import { BenchError, median, quantile } from './measure.ts'
import { type Comparison, compare, turnsOf } from './ratios.ts'

const help = `Queries of the embedded store in this process: of 1 million readings and of 20 million, by turns.

  npm run bench:reads -- [options]

  --data-dir <folder>  keeps both filled stores there for the next run; by default they are deleted in the end
  --small <n>          million readings of the one store, of 100 devices (1)
  --large <n>          million readings of the other (20)
  --devices <n>        devices of the other; the first 100 are asked (1000)
  --rounds <n>         (7)
  --queries <n>        of each kind, store and round (40)
  --messages <n>       stored in each store and round (20000)
  --only <parts>       of queries, ingest, start, separated by commas
  --json <file>        writes the rows of the table of goals
  --help               this

Needs 4 GB of disk for 20 million readings. Linux only.
`

const askedDevices = 100
const secondNs = 1_000_000_000n
const hourNs = 3600n * secondNs
const parts = ['queries', 'ingest', 'start'] as const

interface Options {
  readonly dataDir: string | undefined
  readonly small: StoreSize
  readonly large: StoreSize
  readonly rounds: number
  readonly queries: number
  readonly messages: number
  readonly only: readonly string[]
  readonly json: string | undefined
}

const parseArguments = (): Options => {
  const { values } = parseOptions({
    options: {
      'data-dir': { type: 'string' },
      small: { type: 'string', default: '1' },
      large: { type: 'string', default: '20' },
      devices: { type: 'string', default: '1000' },
      rounds: { type: 'string', default: '7' },
      queries: { type: 'string', default: '40' },
      messages: { type: 'string', default: '20000' },
      only: { type: 'string', default: parts.join(',') },
      json: { type: 'string' },
    },
  })
  const whole = (
    name: 'small' | 'large' | 'devices' | 'rounds' | 'queries' | 'messages',
    min: number,
    max: number,
  ) => numberArgument(`--${name}`, values[name], { min, max, whole: true })
  const sizeOf = (million: number, devices: number): StoreSize => ({
    devices,
    readings: Math.round((million * 1e6) / devices),
  })
  const only = values.only.split(',')
  for (const part of only)
    if (!parts.some((one) => one === part)) throw new UsageError(`--only has no part "${part}"`)
  const small = sizeOf(whole('small', 1, 1000), askedDevices)
  const large = sizeOf(whole('large', 1, 1000), whole('devices', askedDevices, 100_000))
  if (small.devices === large.devices && small.readings === large.readings)
    throw new UsageError('the two stores must differ in their readings or their devices')
  return {
    dataDir: values['data-dir'] && resolve(values['data-dir']),
    small,
    large,
    rounds: whole('rounds', 1, 1000),
    queries: whole('queries', 1, 100_000),
    messages: whole('messages', 100, 1_000_000),
    only,
    json: values.json,
  }
}

const report = (text: string) => process.stderr.write(text)
const total = ({ devices, readings }: StoreSize) => `${(devices * readings) / 1e6} M`

/** A filled store that is open. */
interface Subject {
  readonly name: string
  readonly embedded: Embedded
  readonly file: string
  readonly readings: number
  /** Behind the newest reading of the devices that are asked, ns since the epoch. */
  readonly end: bigint
}

const openSubject = async (dataDir: string, size: StoreSize): Promise<Subject> => {
  const began = performance.now()
  await fillStore(dataDir, size, (part) => report(`\r${total(size)} readings: ${Math.round(part * 100)} %`))
  report(
    `\r${total(size)} readings, filled or found in ${Math.round((performance.now() - began) / 1000)} s\n`,
  )
  const file = join(dataDir, 'telemetry.db')
  const embedded = await openEmbedded({ at: { file }, log: createLog('warn'), retentionMs: 0 })
  let end = 0n
  for (let id = 1; id <= askedDevices; id += 1) {
    const latest = await embedded.store.latest(id, allTime.to)
    if (latest !== undefined && latest.time >= end) end = latest.time + 1n
  }
  return { name: total(size), embedded, file, readings: size.devices * size.readings, end }
}

interface ReadQuery {
  readonly name: string
  /** ms at p50; undefined where there is no goal. */
  readonly goal?: number
  /** Rows or windows of the answer, so that a query that finds nothing is noticed. */
  readonly least: number
  /** @returns the rows or windows of its answer. */
  ask(subject: Subject, deviceId: number): Promise<number>
}

const hourly = (days: number, field: string | undefined): ReadQuery['ask'] => {
  return async ({ embedded, end }, deviceId) => {
    const range: TimeRange = { from: end - BigInt(days) * 24n * hourNs, to: end }
    const bounds = windowBounds({ unit: 'second', count: 3600 }, 'UTC', range)
    return (await embedded.store.aggregate({ ...range, deviceId, field, aggregation: 'mean', bounds })).length
  }
}

const history =
  (limit: number): ReadQuery['ask'] =>
  async ({ embedded: { store }, end }, deviceId) =>
    (await store.history({ deviceId, from: 0n, to: end, fields: undefined, limit, order: 'desc' })).length

const readQueries: readonly ReadQuery[] = [
  {
    name: 'latest',
    goal: 0.5,
    least: 5,
    ask: async ({ embedded, end }, deviceId) =>
      Object.keys((await embedded.store.latest(deviceId, end))?.fields ?? {}).length,
  },
  { name: 'last 100', goal: 1, least: 100, ask: history(100) },
  { name: '24 hourly means', goal: 2, least: 24, ask: hourly(1, 'temperature') },
  { name: '30 days of hourly means', goal: 10, least: 720, ask: hourly(30, 'temperature') },
  { name: '30 days of hourly means, 5 fields', least: 720, ask: hourly(30, undefined) },
  { name: 'last 1000', least: 1000, ask: history(1000) },
  {
    name: 'an hour by minutes, median of 20 fields',
    least: 60,
    async ask({ embedded: { store } }) {
      const to = ((await store.latest(wideDevice, allTime.to))?.time ?? 0n) + 1n
      const range = { from: to - hourNs, to }
      const bounds = windowBounds({ unit: 'second', count: 60 }, 'UTC', range)
      const asked = { ...range, deviceId: wideDevice, field: undefined, bounds }
      return (await store.aggregate({ ...asked, aggregation: 'median' })).length
    },
  },
]

/** What one store needed for one query. */
interface Timings {
  /** ms, all rounds. */
  readonly all: number[]
  /** p50 of each round, ms. */
  readonly rounds: number[]
  /** CPU µs of each round, per query. */
  readonly cpu: number[]
}

const cpuSince = (before: NodeJS.CpuUsage): number => {
  const { user, system } = process.cpuUsage(before)
  return user + system
}

const measureQuery = async (query: ReadQuery, subject: Subject, count: number, into: Timings) => {
  const times: number[] = []
  const cpu = process.cpuUsage()
  for (let at = 0; at < count; at += 1) {
    const deviceId = 1 + Math.floor(Math.random() * askedDevices)
    const began = performance.now()
    const found = await query.ask(subject, deviceId)
    times.push(performance.now() - began)
    if (found < query.least) throw new BenchError(`${query.name} of device ${deviceId} found ${found} only`)
  }
  into.cpu.push(cpuSince(cpu) / count)
  into.rounds.push(median(times))
  into.all.push(...times)
}

const figuresOf = (name: string, { all, cpu }: Timings): Figures => {
  const sorted = all.toSorted((one, other) => one - other)
  const at = (q: number) => quantile(sorted, q)
  return { name, p50: at(0.5), p95: at(0.95), p99: at(0.99), cpu: median(cpu) }
}

const command = 'npm run bench:reads'

const measureQueries = async (
  { rounds, queries }: Options,
  both: readonly [Subject, Subject],
): Promise<GoalRow[]> => {
  const [small, large] = both
  const rows: GoalRow[] = []
  for (const query of readQueries) {
    const timings = new Map(both.map((subject) => [subject, { all: [], rounds: [], cpu: [] } as Timings]))
    for (let round = -1; round < rounds; round += 1)
      for (const subject of turnsOf(round + 1, both)) {
        // The first round warms up.
        const into = round < 0 ? { all: [], rounds: [], cpu: [] } : timings.get(subject)
        if (into !== undefined) await measureQuery(query, subject, queries, into)
      }
    const [ofSmall, ofLarge] = [timings.get(small), timings.get(large)] as [Timings, Timings]
    const scenario = `embedded store: ${query.name}`
    const ours = figuresOf(small.name, ofSmall)
    if (query.goal !== undefined)
      rows.push({
        scenario,
        goal: `p50 at most ${query.goal} ms`,
        bound: 1,
        side: 'most',
        ratio: compareWithBound(ofSmall.rounds, query.goal),
        ours,
        command,
      })
    rows.push({
      scenario: `${scenario}, ${large.name} readings`,
      goal: `p50 at most 2 × that of ${small.name}`,
      bound: 2,
      side: 'most',
      ratio: compare(ofLarge.rounds.map((own, at) => ({ ours: own, other: ofSmall.rounds[at] ?? own }))),
      ours: figuresOf(large.name, ofLarge),
      floor: ours,
      command,
    })
  }
  return rows
}

/** Messages that are handed over together. */
const batchSize = 100

/** CPU µs per message, with its folding. */
const ingest = async (
  { embedded: { database }, end }: Subject,
  first: number,
  messages: number,
): Promise<number> => {
  const { writer } = database
  const cpu = process.cpuUsage()
  const receivedAt = Date.now()
  for (let sent = 0; sent < messages; ) {
    const batch = Array.from({ length: Math.min(batchSize, messages - sent) }, (_, at) => {
      const number = first + sent + at
      const fields = {
        battery_level: 87,
        humidity: 65.5,
        pressure: 1013.2,
        signal_strength: -52,
        temperature: 20.1,
      }
      return {
        deviceId: 1 + (number % askedDevices),
        deviceType: 'sensor',
        location: 'Hall 1',
        receivedAt,
        rejected: 0,
        readings: [{ time: end + BigInt(number) * 1_000_000n, fields, metadata: undefined }],
      }
    })
    sent += batch.length
    for (const outcome of await writer.deliver('readings', batch))
      if (!('stored' in outcome)) throw new BenchError('a message was not stored')
  }
  await writer.folding?.fold(undefined)
  return cpuSince(cpu) / messages
}

const measureIngest = async (
  { rounds, messages }: Options,
  both: readonly [Subject, Subject],
): Promise<GoalRow> => {
  const cpu = new Map<Subject, number[]>(both.map((subject) => [subject, []]))
  for (let round = 0; round <= rounds; round += 1)
    for (const subject of turnsOf(round, both)) {
      const each = await ingest(subject, round * messages, messages)
      if (round > 0) cpu.get(subject)?.push(each)
    }
  for (const { embedded, end } of both)
    for (let id = 1; id <= askedDevices; id += 1)
      await embedded.store.remove(id, { from: end, to: allTime.to })
  const [ofSmall, ofLarge] = both.map((subject) => cpu.get(subject) ?? []) as [number[], number[]]
  const [small, large] = both
  return {
    scenario: `embedded store: a message is stored beside ${large.name} readings`,
    goal: `CPU at most 1.25 × that beside ${small.name}`,
    bound: 1.25,
    side: 'most',
    ratio: compare(ofLarge.map((own, at) => ({ ours: own, other: ofSmall[at] ?? own }))),
    ours: { name: large.name, cpu: median(ofLarge) },
    floor: { name: small.name, cpu: median(ofSmall) },
    command,
  }
}

/** ms from the start of the process to its first answer with telemetry. */
const firstAnswer = async (dataDir: string): Promise<number> => {
  const began = performance.now()
  const server = await startCheckout(fileURLToPath(root), dataDir, {
    ADMIN_TOKEN: adminToken,
    RETENTION_DAYS: '0',
  })
  const headers = { Authorization: `Bearer ${adminToken}` }
  const answer = await fetch(`${server.url}/api/v1/telemetry/1/latest`, { headers })
  const took = performance.now() - began
  if (answer.status !== 200) throw new BenchError(`latest answered ${answer.status}: ${await answer.text()}`)
  await server.end()
  return took
}

const measureStart = async ({ rounds }: Options, dataDir: string, readings: string): Promise<GoalRow> => {
  // The first start builds the server.
  await firstAnswer(dataDir)
  const times: number[] = []
  for (let round = 0; round < rounds; round += 1) times.push(await firstAnswer(dataDir))
  return {
    scenario: `npm start with ${readings} readings, to the first answer`,
    goal: 'at most 2 s',
    bound: 1,
    side: 'most',
    ratio: compareWithBound(times, 2000),
    ours: { name: readings, p50: median(times) },
    command,
  }
}

const number = (value: number | undefined) => (value === undefined ? '–' : value.toPrecision(3))
const intervalOf = ({ interval }: Comparison) =>
  interval === undefined ? '–' : `${interval.low.toFixed(2)}–${interval.high.toFixed(2)}`

const tableOf = (rows: readonly GoalRow[]): string => {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |\n`
  const head = ['Scenario', 'Goal', 'p50 ms', 'p95', 'p99', 'CPU µs', 'Ratio', '95 % interval']
  const body = rows.map(({ scenario, goal, ours: { p50, p95, p99, cpu }, ratio }) =>
    line([scenario, goal, ...[p50, p95, p99, cpu].map(number), ratio.median.toFixed(2), intervalOf(ratio)]),
  )
  return line(head) + line(head.map(() => '---')) + body.join('')
}

const sizesOf = (both: readonly Subject[]): string =>
  both
    .map(
      ({ name, file, readings }) =>
        `${name} readings: ${(statSync(file).size / readings).toFixed(0)} bytes each`,
    )
    .join('; ')

const measure = async (options: Options, folder: string): Promise<void> => {
  const dirOf = (size: StoreSize) => join(folder, `${size.devices}x${size.readings}`)
  const both = [
    await openSubject(dirOf(options.small), options.small),
    await openSubject(dirOf(options.large), options.large),
  ] as const
  const rows: GoalRow[] = []
  const sizes = sizesOf(both)
  try {
    if (options.only.includes('queries')) rows.push(...(await measureQueries(options, both)))
    if (options.only.includes('ingest')) rows.push(await measureIngest(options, both))
  } finally {
    for (const { embedded } of both) await embedded.close()
  }
  if (options.only.includes('start'))
    rows.push(await measureStart(options, dirOf(options.large), total(options.large)))
  process.stdout.write(`A reading every ${stepS} s. ${sizes}.\n\n${tableOf(rows)}`)
  if (options.json !== undefined) await writeRows(options.json, rows)
}

export const main = () =>
  runCommand(async () => {
    if (asksForHelp(process.argv.slice(2))) {
      process.stdout.write(help)
      return 0
    }
    const options = parseArguments()
    const folder = options.dataDir ?? (await mkdtemp(join(tmpdir(), 'iotflow-reads-')))
    if (options.dataDir === undefined)
      process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
    await measure(options, folder)
    return 0
  })
