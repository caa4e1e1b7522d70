/** `npm run bench`: throughput of the server, compared with floors that are measured in the same minutes. */
import { closeSync, openSync, rmSync } from 'node:fs'
import { mkdtemp, open } from 'node:fs/promises'
import { availableParallelism, cpus, loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { numberArgument, parseOptions, UsageError } from '../scripts/command.ts'
import { onInterrupt } from '../simulators/interrupt.ts'
import { columns } from '../simulators/report.ts'
import {
  answerSize,
  countStored,
  type FleetDevice,
  mqttDevices,
  registerFleet,
  registerRequests,
  telemetryRequests,
} from './fleet.ts'
import { runHttpLoad } from './http-load.ts'
import { BenchError, type Contender, interleave, median, type Result, type Run } from './measure.ts'
import { type MqttLoad, openMqttLoad } from './mqtt-load.ts'
import { type PortFacts, type Server, startServer } from './process.ts'
import type { InsertTimes } from './servers/bare-insert.ts'
import type { StandaloneFacts } from './servers/standalone.ts'

const help = `Throughput of the server, compared with floors that are measured in the same minutes, by turns. Each is a process.

  npm run bench -- [options]

  --seconds <n>   how long one run takes (3)
  --rounds <n>    runs of each; the median counts (5)
  --only <what>   http, mqtt or register
  --check         exit code 1 when a ratio is below the required one
  --help          this

Progress goes to standard error, the result to standard output. Exit code: 0 when everything was acknowledged and
stored, 1 when not, 2 when an argument is wrong. benchmarks/README.md explains the figures.
`

const kinds = ['http', 'mqtt', 'register'] as const
type Kind = (typeof kinds)[number]

const fleetSize = 1000
const httpConnections = 64
const registerConnections = 16
/** Publishes of one device that wait for their PUBACK at the same time; real devices have one. */
const mqttWindow = 1
const warmUpSeconds = 2
/** Share of the floor's median that the server must reach. */
const required: Partial<Record<Kind, number>> = { http: 0.6, mqtt: 0.4 }

interface Arguments {
  readonly seconds: number
  readonly rounds: number
  readonly only: readonly Kind[]
  readonly check: boolean
}

/** Undefined when only help is wanted. */
const parseArguments = (): Arguments | undefined => {
  const { values } = parseOptions({
    options: {
      seconds: { type: 'string', default: '3' },
      rounds: { type: 'string', default: '5' },
      only: { type: 'string' },
      check: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) return undefined
  const only = kinds.find((kind) => kind === values.only)
  if (values.only !== undefined && only === undefined)
    throw new UsageError(`--only must be http, mqtt or register, not "${values.only}".`)
  return {
    seconds: numberArgument('--seconds', values.seconds, { min: 0.5, max: 600 }),
    rounds: numberArgument('--rounds', values.rounds, { min: 1, max: 100, whole: true }),
    only: only === undefined ? kinds : [only],
    check: values.check,
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

interface Bench {
  readonly dir: string
  readonly options: Arguments
  readonly server: Server<StandaloneFacts>
  readonly fleet: readonly FleetDevice[]
  /** Starts a server that ends with the benchmark. */
  start<Facts>(file: string, ...args: string[]): Promise<Server<Facts>>
}

const measure = (bench: Bench, contenders: readonly Contender[]): Promise<Result[]> => {
  const { rounds, seconds } = bench.options
  return interleave(contenders, { rounds, seconds, warmUp: warmUpSeconds }, ({ name }, run, round) => {
    const which = round === 0 ? 'warm-up' : `${round} of ${rounds}`
    report(`  ${which.padEnd(8)} ${name.padEnd(24)} ${whole(run.completed / run.seconds).padStart(7)}/s\n`)
  })
}

const urlOf = ({ server }: Bench) => `http://127.0.0.1:${server.facts.httpPort}`

/** Runs a load and compares the acknowledged readings with the stored ones. @throws {BenchError} when they differ. */
const counted = async (
  bench: Bench,
  load: (tally: (run: Run) => Run) => Promise<Result[]>,
): Promise<Result[]> => {
  const before = await countStored(urlOf(bench), bench.fleet)
  let acknowledged = 0
  const results = await load((run) => {
    acknowledged += run.acknowledged
    return run
  })
  const stored = (await countStored(urlOf(bench), bench.fleet)) - before
  if (stored !== acknowledged)
    throw new BenchError(`${whole(acknowledged)} readings were acknowledged and ${whole(stored)} are stored`)
  report(`  all ${whole(stored)} acknowledged readings are stored\n`)
  return results
}

const scenarios: Record<Kind, (bench: Bench) => Promise<{ title: string; results: Result[] }>> = {
  async http(bench) {
    const { fleet, server } = bench
    const [device] = fleet as [FleetDevice]
    const bytes = await answerSize(urlOf(bench), device)
    const floor = await bench.start<PortFacts>('hono-echo.ts', String(bytes))
    const next = telemetryRequests(fleet)
    const load = (port: number, seconds: number) =>
      runHttpLoad({ port, connections: httpConnections, seconds, next, expected: 201 })
    const results = await counted(bench, (tally) =>
      measure(bench, [
        { name: 'Hono echo', cpu: floor.cpu, run: (seconds) => load(floor.facts.port, seconds) },
        {
          name: 'server',
          cpu: server.cpu,
          run: async (seconds) => tally(await load(server.facts.httpPort, seconds)),
        },
      ]),
    )
    const title = `HTTP telemetry: ${httpConnections} connections, ${fleetSize} devices, ${device.payload.length} bytes, answers of ${bytes}`
    return { title, results }
  },

  async mqtt(bench) {
    const { fleet, server } = bench
    const floor = await bench.start<PortFacts>('bare-aedes.ts')
    const devices = mqttDevices(fleet)
    const loads: MqttLoad[] = []
    const contender = async (name: string, measured: Server<unknown>, port: number) => {
      const load = await openMqttLoad(port, devices, mqttWindow)
      loads.push(load)
      return { name, cpu: measured.cpu, run: load.run }
    }
    try {
      const bare = await contender('bare aedes', floor, floor.facts.port)
      const ours = await contender('server', server, server.facts.mqttPort)
      const results = await counted(bench, (tally) =>
        measure(bench, [bare, { ...ours, run: async (seconds) => tally(await ours.run(seconds)) }]),
      )
      const title = `MQTT QoS 1: ${devices.length} connections, ${mqttWindow} publish each under way, ${devices[0]?.payload.length} bytes`
      return { title, results }
    } finally {
      for (const load of loads) load.close()
    }
  },

  async register(bench) {
    const { server, dir } = bench
    const floor = await bench.start('bare-insert.ts', dir)
    const next = registerRequests()
    const insert = async (seconds: number): Promise<Run> => {
      const latencies = (await floor.ask('insert', seconds)) as InsertTimes
      const count = latencies.length
      return { completed: count, acknowledged: count, seconds, latencies, errors: new Map(), loadCpu: 0 }
    }
    const results = await measure(bench, [
      { name: 'bare insert', cpu: floor.cpu, run: insert },
      {
        name: 'server',
        cpu: server.cpu,
        run: (seconds) =>
          runHttpLoad({
            port: server.facts.httpPort,
            connections: registerConnections,
            seconds,
            next,
            expected: 201,
          }),
      },
    ])
    return {
      title: `Registrations: ${registerConnections} connections; the floor is one insert after another`,
      results,
    }
  },
}

/** @returns whether the required share was reached. */
const printResult = (kind: Kind, title: string, results: readonly Result[]): boolean => {
  const [floor, server] = results as [Result, Result]
  const table = columns([
    [
      '',
      ...server.rates.map((_, at) => `run ${at + 1}`),
      'median/s',
      'p50 ms',
      'p99 ms',
      'server µs',
      'load µs',
    ],
    ...results.map((result) => [
      result.name,
      ...result.rates.map(whole),
      whole(result.medianRate),
      result.p50.toFixed(2),
      result.p99.toFixed(2),
      whole(result.serverCpu),
      whole(result.loadCpu),
    ]),
  ])
  const ratio = server.medianRate / floor.medianRate
  const wanted = required[kind]
  const reached = wanted === undefined || ratio >= wanted
  const verdict =
    wanted === undefined ? 'nothing is required' : `required: ${percent(wanted)}, ${reached ? 'ok' : 'below'}`
  process.stdout.write(
    `\n${title}\n${table.map((line) => `  ${line}\n`).join('')}  ${percent(ratio)} of the floor (${verdict})\n`,
  )
  return reached
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
    const bench: Bench = { dir, options, server, fleet, start }
    let reached = true
    for (const kind of options.only) {
      report(`${kind}\n`)
      const { title, results } = await scenarios[kind](bench)
      reached = printResult(kind, title, results) && reached
    }
    if (options.check && !reached) process.exitCode = 1
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
