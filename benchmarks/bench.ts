/** `npm run bench`: throughput of the server, compared with floors that are measured in the same minutes. */
import { closeSync, openSync, rmSync } from 'node:fs'
import { mkdtemp, open } from 'node:fs/promises'
import { availableParallelism, cpus, loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { numberArgument, parseOptions, UsageError } from '../scripts/command.ts'
import { onInterrupt } from '../simulators/interrupt.ts'
import { columns } from '../simulators/report.ts'
import { missingForInflux } from './bucket.ts'
import { registerFleet } from './fleet.ts'
import { type Bench, type Kind, kinds, scenarios } from './floors.ts'
import { type Figures, type GoalRow, isMet, writeRows } from './goal.ts'
import { BenchError, type Contender, interleave, median, type Result } from './measure.ts'
import { type Server, startServer } from './process.ts'
import { type Comparison, compare } from './ratios.ts'
import type { StandaloneFacts } from './servers/standalone.ts'

const help = `Throughput of the server, compared with floors that are measured in the same minutes, by turns. Each is a process.

  npm run bench -- [options]

  --seconds <n>   how long one run takes (3)
  --rounds <n>    runs of each; the median counts (5)
  --only <what>   ${kinds.join(', ')}; several with commas
  --json <file>   writes the figures there
  --check         exit code 1 when a ratio is below the required one
  --help          this

Progress goes to standard error, the result to standard output. Exit code: 0 when everything was acknowledged and
stored, 1 when not, 2 when an argument is wrong. benchmarks/README.md explains the figures. \`influx\` needs INFLUXDB_URL and
INFLUXDB_TOKEN and is left out without them.
`

const fleetSize = 1000
const warmUpSeconds = 2

interface Arguments {
  readonly seconds: number
  readonly rounds: number
  readonly only: readonly Kind[]
  readonly check: boolean
  readonly json: string | undefined
}

/** @throws {UsageError} */
const parseOnly = (text: string | undefined): readonly Kind[] => {
  if (text === undefined)
    return missingForInflux(true) === undefined ? kinds : kinds.filter((kind) => kind !== 'influx')
  return text.split(',').map((name) => {
    const kind = kinds.find((one) => one === name)
    if (kind === undefined) throw new UsageError(`--only must be of ${kinds.join(', ')}, not "${name}".`)
    return kind
  })
}

/** Undefined when only help is wanted. */
const parseArguments = (): Arguments | undefined => {
  const { values } = parseOptions({
    options: {
      seconds: { type: 'string', default: '3' },
      rounds: { type: 'string', default: '5' },
      only: { type: 'string' },
      check: { type: 'boolean', default: false },
      json: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) return undefined
  return {
    seconds: numberArgument('--seconds', values.seconds, { min: 0.5, max: 600 }),
    rounds: numberArgument('--rounds', values.rounds, { min: 1, max: 100, whole: true }),
    only: parseOnly(values.only),
    check: values.check,
    json: values.json,
  }
}

/** The median time to flush 4 KB to the disk of the data, ms: the rate of a store depends on it. */
const flushTime = async (dir: string): Promise<number> => {
  const file = await open(join(dir, 'flush'), 'w')
  const times: number[] = []
  for (let at = 0; at < 50; at++) {
    const before = performance.now()
    await file.write(Buffer.alloc(4096), 0, 4096, at * 4096)
    await file.datasync()
    times.push(performance.now() - before)
  }
  await file.close()
  return median(times)
}

const report = (text: string) => process.stderr.write(text)
const whole = (value: number) => Math.round(value).toLocaleString('en-US')
const percent = (share: number) => `${Math.round(share * 100)} %`

const figuresOf = (result: Result): Figures => ({
  name: result.name,
  rate: result.medianRate,
  p50: result.p50,
  p95: result.p95,
  p99: result.p99,
  cpu: result.serverCpu,
  ...(result.rss === undefined ? {} : { rss: result.rss }),
  acknowledged: result.acknowledged,
})

const ratioOf = (result: Result, floor: Result) =>
  compare(result.rates.map((ours, at) => ({ ours, other: floor.rates[at] as number })))

const rowOf = (
  kind: Kind,
  title: string,
  [floor, server, bare]: readonly [Result, Result, Result?],
  { rounds, seconds }: Arguments,
): GoalRow => ({
  scenario: title,
  goal: `at least ${percent(scenarios[kind].required)} of ${scenarios[kind].floor}`,
  bound: scenarios[kind].required,
  side: 'least',
  ratio: ratioOf(server, floor),
  ours: figuresOf(server),
  floor: figuresOf(floor),
  ...(bare && { bare: { figures: figuresOf(bare), ratio: ratioOf(bare, floor) } }),
  command: `npm run bench -- --only ${kind} --rounds ${rounds} --seconds ${seconds}`,
})

const printResult = (title: string, results: readonly Result[], row: GoalRow): void => {
  const table = columns([
    [
      '',
      ...(results[0]?.rates ?? []).map((_, at) => `run ${at + 1}`),
      'median/s',
      'p50 ms',
      'p95 ms',
      'p99 ms',
      'server µs',
      'load µs',
      'MB',
    ],
    ...results.map((result) => [
      result.name,
      ...result.rates.map(whole),
      whole(result.medianRate),
      result.p50.toFixed(2),
      result.p95.toFixed(2),
      result.p99.toFixed(2),
      whole(result.serverCpu),
      whole(result.loadCpu),
      result.rss === undefined ? '' : whole(result.rss / 1e6),
    ]),
  ])
  const share = ({ median: ratio, interval }: Comparison) =>
    percent(ratio) +
    (interval === undefined ? '' : ` (${percent(interval.low)} to ${percent(interval.high)})`)
  process.stdout.write(
    `\n${title}\n${table.map((line) => `  ${line}\n`).join('')}  ${share(row.ratio)} of the floor; required: ` +
      `${percent(row.bound)}, ${isMet(row) ? 'ok' : 'below'}\n` +
      (row.bare ? `  the bare program: ${share(row.bare.ratio)} of the floor\n` : ''),
  )
}

const main = async (): Promise<void> => {
  const options = parseArguments()
  if (options === undefined) {
    process.stdout.write(help)
    return
  }
  const interrupted = onInterrupt()
  const dir = await mkdtemp(join(tmpdir(), 'iotflow-bench-'))
  process.on('exit', () => rmSync(dir, { recursive: true, force: true }))
  interrupted.addEventListener('abort', () => process.exit(130))

  const [processor] = cpus()
  process.stdout.write(
    `Node ${process.version}, ${availableParallelism()} × ${processor?.model.trim() || 'processor'}, ` +
      `load ${loadavg()[0]?.toFixed(2)} before; ${dir}: ${(await flushTime(dir)).toFixed(2)} ms a flush to disk\n`,
  )
  const servers: Server<unknown>[] = []
  const log = openSync(join(dir, 'server.log'), 'w')
  const start = async <Facts>(file: string, ...args: string[]): Promise<Server<Facts>> => {
    const started = await startServer<Facts>(file, { args, stderr: file === 'standalone.ts' ? log : 2 })
    servers.push(started)
    return started
  }
  try {
    const server = await start<StandaloneFacts>('standalone.ts', join(dir, 'data'))
    report(`registering ${fleetSize} devices\n`)
    const fleet = await registerFleet(`http://127.0.0.1:${server.facts.httpPort}`, fleetSize)
    const measure = (contenders: readonly Contender[]): Promise<Result[]> => {
      const { rounds, seconds } = options
      return interleave(contenders, { rounds, seconds, warmUp: warmUpSeconds }, ({ name }, run, round) => {
        const which = round === 0 ? 'warm-up' : `${round} of ${rounds}`
        report(
          `  ${which.padEnd(8)} ${name.padEnd(24)} ${whole(run.completed / run.seconds).padStart(7)}/s\n`,
        )
      })
    }
    const bench: Bench = { dir, server, fleet, start, measure, report }
    const rows: GoalRow[] = []
    for (const kind of options.only) {
      report(`${kind}\n`)
      const { title, results } = await scenarios[kind].run(bench)
      const row = rowOf(kind, title, results as [Result, Result, Result?], options)
      printResult(title, results, row)
      rows.push(row)
    }
    if (options.json !== undefined) await writeRows(options.json, rows)
    if (options.check && !rows.every(isMet)) process.exitCode = 1
  } finally {
    await Promise.all(servers.map((one) => one.end()))
    closeSync(log)
  }
}

main().catch((error: unknown) => {
  if (error instanceof UsageError || error instanceof BenchError) process.stderr.write(`${error.message}\n`)
  else console.error(error)
  process.exitCode = error instanceof UsageError ? 2 : 1
})
