/** `npm run bench:paired`: the servers of two checkouts under the same load, by turns. */
import { rmSync } from 'node:fs'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { availableParallelism, cpus, loadavg, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { root } from '../lib/root.ts'
import { numberArgument, parseOptions, UsageError } from '../scripts/command.ts'
import { onInterrupt } from '../simulators/interrupt.ts'
import { missingForInflux } from './bucket.ts'
import { BenchError, checkRun, median, settle } from './measure.ts'
import { hasMosquitto } from './mosquitto.ts'
import { type Comparison, compare, turnsOf } from './ratios.ts'
import { maxRulesEach } from './rules.ts'
import { type ScenarioName, type Subject, scenarioNames, scenarios } from './scenarios.ts'

const help = `Compares the server of this checkout with that of another one: CPU per message, and messages per second.

  npm run bench:paired -- --against <folder> [options]

  --against <folder>  the other checkout, with its node_modules
  --rounds <n>        runs of each (7)
  --seconds <n>       how long a run of http and mqtt takes (3)
  --messages <n>      messages of a run of influx (20000)
  --only <names>      of http, mqtt, connects, influx, separated by commas; without it influx runs where it can
  --dashboards <n>    open at the server of this checkout, with live updates (0)
  --rules <n>         alert rules for each device at the server of this checkout, at most 10 (0)
  --json <file>       writes every figure to a file, too
  --help              this

With --against . --dashboards 5 the ratio says what open dashboards cost, with --rules 1 what alert rules cost.
A ratio below 1 means that this checkout needs less. influx needs mosquitto, INFLUXDB_URL and INFLUXDB_TOKEN.
Progress goes to standard error, a Markdown table to standard output. Exit code: 0 when every message was acknowledged
and stored, 1 when not, 2 when an argument is wrong. Linux only: CPU times are read from /proc.
`

const warmUpSeconds = 2
const ourFolder = fileURLToPath(root)

interface Arguments {
  readonly against: string
  readonly rounds: number
  readonly seconds: number
  readonly messages: number
  readonly only: readonly ScenarioName[] | undefined
  readonly dashboards: number
  readonly rules: number
  readonly json: string | undefined
}

const parseOnly = (text: string): ScenarioName[] =>
  text.split(',').map((word) => {
    const name = scenarioNames.find((one) => one === word)
    if (name === undefined)
      throw new UsageError(`--only must name http, mqtt, connects or influx, not "${word}".`)
    return name
  })

/** Undefined when only help is wanted. */
const parseArguments = (): Arguments | undefined => {
  const { values } = parseOptions({
    options: {
      against: { type: 'string' },
      rounds: { type: 'string', default: '7' },
      seconds: { type: 'string', default: '3' },
      messages: { type: 'string', default: '20000' },
      only: { type: 'string' },
      dashboards: { type: 'string', default: '0' },
      rules: { type: 'string', default: '0' },
      json: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) return undefined
  if (values.against === undefined)
    throw new UsageError('--against must name the folder of the other checkout.')
  return {
    against: resolve(values.against),
    rounds: numberArgument('--rounds', values.rounds, { min: 1, max: 100, whole: true }),
    seconds: numberArgument('--seconds', values.seconds, { min: 0.5, max: 600 }),
    messages: numberArgument('--messages', values.messages, { min: 100, max: 10_000_000, whole: true }),
    only: values.only === undefined ? undefined : parseOnly(values.only),
    dashboards: numberArgument('--dashboards', values.dashboards, { min: 0, max: 20, whole: true }),
    rules: numberArgument('--rules', values.rules, { min: 0, max: maxRulesEach, whole: true }),
    json: values.json,
  }
}

/** One run of one checkout. */
interface Measurement {
  /** µs of the server per message. */
  readonly cpu: number
  /** Messages per second. */
  readonly rate: number
}

interface ScenarioResult {
  readonly name: ScenarioName
  readonly title: string
  readonly ours: readonly Measurement[]
  readonly other: readonly Measurement[]
  /** Of the CPU per message. */
  readonly cpu: Comparison
  readonly rate: Comparison
}

const report = (text: string) => process.stderr.write(text)
const whole = (value: number) => Math.round(value).toLocaleString('en-US')

/** A subject with what it has acknowledged so far. */
interface Counted {
  readonly subject: Subject
  acknowledged: number
}

/** Runs one load. CPU counts until both servers are at rest: work that a server postpones is part of its cost. */
const measureRun = async (one: Counted, all: readonly Counted[], seconds: number): Promise<Measurement> => {
  const { subject } = one
  const subjects = all.map(({ subject: each }) => each)
  await settle(subjects)
  const before = await subject.cpu()
  const run = checkRun(subject.name, await subject.run(seconds))
  await settle(subjects)
  one.acknowledged += run.acknowledged
  return { cpu: ((await subject.cpu()) - before) / run.acknowledged, rate: run.completed / run.seconds }
}

const checkStored = async ({ subject, acknowledged }: Counted): Promise<void> => {
  const stored = await subject.stored()
  if (stored !== acknowledged)
    throw new BenchError(
      `${subject.name}: ${whole(acknowledged)} messages were acknowledged and ${whole(stored)} are stored`,
    )
}

const measureScenario = async (
  name: ScenarioName,
  { rounds, seconds, messages, against, dashboards: count, rules }: Arguments,
  workFolder: string,
): Promise<ScenarioResult> => {
  const { title, open } = scenarios[name]
  report(`${title}\n`)
  const opened: Counted[] = []
  const openOne = async (folder: string, label: string): Promise<Counted> => {
    const dashboards = label === 'ours' ? count : 0
    const ruleCount = label === 'ours' ? rules : 0
    const subject = await open({
      folder,
      name: label,
      workFolder,
      messages,
      dashboards,
      rules: ruleCount,
    })
    const one = { subject, acknowledged: 0 }
    opened.push(one)
    return one
  }
  try {
    const both = [await openOne(ourFolder, 'ours'), await openOne(against, 'other')] as const
    const measured = new Map<Counted, Measurement[]>(both.map((one) => [one, []]))
    for (const one of both) await measureRun(one, both, warmUpSeconds)
    for (let round = 0; round < rounds; round += 1)
      for (const one of turnsOf(round, both)) {
        const measurement = await measureRun(one, both, seconds)
        measured.get(one)?.push(measurement)
        const { cpu, rate } = measurement
        report(
          `  ${round + 1} of ${rounds}  ${one.subject.name.padEnd(6)} ${cpu.toFixed(1).padStart(7)} µs ${whole(rate).padStart(8)}/s\n`,
        )
      }
    for (const one of both) await checkStored(one)
    const [ours, other] = both.map((one) => measured.get(one) ?? []) as [Measurement[], Measurement[]]
    const pairs = (of: (measurement: Measurement) => number) =>
      compare(ours.map((one, at) => ({ ours: of(one), other: of(other[at] ?? one) })))
    return { name, title, ours, other, cpu: pairs(({ cpu }) => cpu), rate: pairs(({ rate }) => rate) }
  } finally {
    for (const { subject } of opened) await subject.end()
  }
}

const intervalOf = ({ interval }: Comparison): string =>
  interval === undefined ? '–' : `${interval.low.toFixed(3)}–${interval.high.toFixed(3)}`

const tableOf = (results: readonly ScenarioResult[]): string => {
  const rows = results.map(({ title, ours, other, cpu, rate }) => {
    const medianOf = (all: readonly Measurement[], of: (one: Measurement) => number) => median(all.map(of))
    return [
      title,
      medianOf(ours, (one) => one.cpu).toFixed(1),
      medianOf(other, (one) => one.cpu).toFixed(1),
      cpu.ratios.map((ratio) => ratio.toFixed(2)).join(' '),
      cpu.median.toFixed(3),
      intervalOf(cpu),
      whole(medianOf(ours, (one) => one.rate)),
      whole(medianOf(other, (one) => one.rate)),
      `${rate.median.toFixed(2)} (${intervalOf(rate)})`,
    ]
  })
  const head = [
    'Scenario',
    'CPU µs, ours',
    'CPU µs, other',
    'Ratio per round',
    'Median ratio',
    '95 % interval',
    'Messages/s, ours',
    'Messages/s, other',
    'Ratio of rates',
  ]
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |\n`
  return line(head) + line(head.map(() => '---')) + rows.map(line).join('')
}

/** The scenarios that can run here. */
const chosen = ({ only }: Arguments): readonly ScenarioName[] => {
  const missing = missingForInflux(hasMosquitto)
  if (missing === undefined || (only !== undefined && !only.includes('influx'))) return only ?? scenarioNames
  if (only !== undefined) throw new BenchError(`influx cannot run: ${missing}`)
  report(`influx is left out: ${missing}\n`)
  return scenarioNames.filter((name) => name !== 'influx')
}

const main = async (): Promise<void> => {
  const options = parseArguments()
  if (options === undefined) {
    process.stdout.write(help)
    return
  }
  const names = chosen(options)
  const workFolder = await mkdtemp(join(tmpdir(), 'iotflow-paired-'))
  process.on('exit', () => rmSync(workFolder, { recursive: true, force: true }))
  onInterrupt().addEventListener('abort', () => process.exit(130))
  const machine = `Node ${process.version}, ${availableParallelism()} × ${cpus()[0]?.model.trim() || 'processor'}`
  const loadBefore = loadavg()[0] ?? 0
  const results: ScenarioResult[] = []
  for (const name of names) results.push(await measureScenario(name, options, workFolder))
  process.stdout.write(
    `${machine}, load ${loadBefore.toFixed(2)} before; medians of ${options.rounds} rounds. ` +
      `The interval is the t interval of the logarithms of the ratios (ours / other).\n\n${tableOf(results)}`,
  )
  if (options.json !== undefined)
    await writeFile(
      options.json,
      `${JSON.stringify({ machine, loadBefore, ...options, results }, undefined, 2)}\n`,
    )
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    if (error instanceof UsageError || error instanceof BenchError) process.stderr.write(`${error.message}\n`)
    else console.error(error)
    process.exit(error instanceof UsageError ? 2 : 1)
  },
)
