/** `npm run bench:idle`: what connections to the embedded broker hold on which nothing happens, and whether others notice them. */
import { rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { asksForHelp, numberArgument, parseOptions, runCommand } from '../scripts/command.ts'
import { mqttDevices, registerFleet } from './fleet.ts'
import { compareWithBound, figuresOfRounds, type GoalRow, isMet, type Round, writeRows } from './goal.ts'
import { checkRun, quantile, settle } from './measure.ts'
import { type MqttLoad, openMqttLoad } from './mqtt-load.ts'
import { type Server, startServer } from './process.ts'
import { compare, turnsOf } from './ratios.ts'
import type { StandaloneFacts } from './servers/standalone.ts'

const help = `Measures idle MQTT connections: memory of each, CPU, and the latency of a hundred devices that send beside them.

  npm run bench:idle -- [options]

  --connections <n>   idle connections (10000)
  --rounds <n>        runs of the devices that send, with and without idle connections (7)
  --seconds <n>       how long a run takes (3)
  --rest <n>          seconds in which the CPU of the idle server is measured (30)
  --json <file>       writes the rows to a file, too
  --help              this

This process and the server need an open file for each connection: see ulimit -Hn.
`

/** Devices that send. */
const senders = 100
/** Memory of a connection, bytes. */
const memoryBound = 20 * 1024
/** Others may notice the idle connections this much, as a ratio. */
const noticeBound = 1.1
/** Buffers of the connecting are given back meanwhile, ms. */
const settleMs = 3000

interface Subject {
  readonly name: string
  readonly server: Server<StandaloneFacts>
  readonly load: MqttLoad
  /** Bytes of each idle connection. */
  readonly rss: number
  readonly heap: number
  end(): Promise<void>
}

const memoryOf = async (server: Server<StandaloneFacts>): Promise<NodeJS.MemoryUsage> => {
  await sleep(settleMs)
  await settle([server])
  return (await server.ask('memory')) as NodeJS.MemoryUsage
}

const openSubject = async (name: string, workFolder: string, idle: number): Promise<Subject> => {
  const server = await startServer<StandaloneFacts>('standalone.ts', {
    args: [join(workFolder, name), 'LOG_LEVEL=warn'],
  })
  const { httpPort, mqttPort } = server.facts
  const fleet = mqttDevices(await registerFleet(`http://127.0.0.1:${httpPort}`, senders + idle))
  const load = await openMqttLoad(mqttPort, fleet.slice(0, senders), 1)
  // What the server needs for any connection and any message is there before.
  await load.run(1)
  const before = await memoryOf(server)
  const idleOnes = await openMqttLoad(mqttPort, fleet.slice(senders), 1)
  const after = await memoryOf(server)
  return {
    name,
    server,
    load,
    rss: (after.rss - before.rss) / idle,
    heap: (after.heapUsed + after.external - before.heapUsed - before.external) / idle,
    async end() {
      idleOnes.close()
      load.close()
      await server.end()
    },
  }
}

const measure = async ({ name, server, load }: Subject, seconds: number): Promise<Round> => {
  await settle([server])
  const before = await server.cpu()
  const run = checkRun(name, await load.run(seconds))
  await settle([server])
  const cpu = ((await server.cpu()) - before) / run.acknowledged
  const latencies = [...run.latencies].sort((a, b) => a - b)
  return { cpu, rate: run.completed / run.seconds, latencies }
}

const p50Of = ({ latencies }: Round): number => quantile(latencies, 0.5)

const command = 'npm run bench:idle'

const memoryRow = (what: string, bytes: number): GoalRow => ({
  scenario: `idle connections: ${what} of each`,
  goal: 'at most 20 KB',
  bound: 1,
  side: 'most',
  ratio: compareWithBound([bytes], memoryBound),
  ours: { name: 'the server', rss: bytes },
  command,
})

const noticeRows = (crowded: readonly Round[], alone: readonly Round[]): GoalRow[] => {
  const row = (what: string, of: (one: Round) => number): GoalRow => ({
    scenario: `idle connections: ${what} of ${senders} devices beside them`,
    goal: `at most ${noticeBound} × without them`,
    bound: noticeBound,
    side: 'most',
    ratio: compare(crowded.map((one, at) => ({ ours: of(one), other: of(alone[at] ?? one) }))),
    ours: figuresOfRounds('with idle connections', crowded),
    peer: figuresOfRounds('without', alone),
    command,
  })
  return [row('latency', p50Of), row('CPU per message', ({ cpu }) => cpu)]
}

const report = (text: string) => process.stderr.write(text)

const bench = async (): Promise<void> => {
  const { values } = parseOptions({
    options: {
      connections: { type: 'string', default: '10000' },
      rounds: { type: 'string', default: '7' },
      seconds: { type: 'string', default: '3' },
      rest: { type: 'string', default: '30' },
      json: { type: 'string' },
    },
  })
  const number = (name: 'connections' | 'rounds', max: number) =>
    numberArgument(`--${name}`, values[name], { min: 1, max, whole: true })
  // A range of local ports ends at 28,000 on Linux.
  const [connections, rounds] = [number('connections', 25_000), number('rounds', 100)]
  const seconds = numberArgument('--seconds', values.seconds, { min: 0.5, max: 600 })
  const rest = numberArgument('--rest', values.rest, { min: 1, max: 3600 })
  const workFolder = await mkdtemp(join(tmpdir(), 'iotflow-idle-'))
  process.on('exit', () => rmSync(workFolder, { recursive: true, force: true }))
  const crowded = await openSubject('crowded', workFolder, connections)
  const alone = await openSubject('alone', workFolder, 1)
  const both = [crowded, alone] as const
  try {
    const before = await Promise.all(both.map(({ server }) => server.cpu()))
    await sleep(rest * 1000)
    for (const [at, { name, server }] of both.entries()) {
      const used = (await server.cpu()) - (before[at] ?? 0)
      report(`${name}, at rest: ${((used * 60) / rest / 1e6).toFixed(2)} s of CPU in a minute\n`)
    }
    const measured = new Map<Subject, Round[]>(both.map((one) => [one, []]))
    for (let round = 0; round < rounds; round += 1)
      for (const one of turnsOf(round, both)) {
        const measurement = await measure(one, seconds)
        measured.get(one)?.push(measurement)
        report(
          `  ${round + 1} of ${rounds}  ${one.name.padEnd(7)} ${measurement.cpu.toFixed(1).padStart(7)} µs` +
            ` ${p50Of(measurement).toFixed(2).padStart(7)} ms\n`,
        )
      }
    const [ours = [], other = []] = both.map((one) => measured.get(one))
    const rows = [
      memoryRow('resident memory', crowded.rss),
      memoryRow('memory in use', crowded.heap),
      ...noticeRows(ours, other),
    ]
    process.stdout.write('| Scenario | Figure | Ratio | Goal | Met |\n| --- | --- | --- | --- | --- |\n')
    for (const row of rows) {
      const { rss, p50 = 0, cpu = 0 } = row.ours
      const figure =
        rss === undefined ? `${p50.toFixed(2)} ms, ${cpu.toFixed(1)} µs` : `${(rss / 1024).toFixed(1)} KB`
      const met = isMet(row) ? 'yes' : 'no'
      process.stdout.write(
        `| ${row.scenario} | ${figure} | ${row.ratio.median.toFixed(3)} | ${row.goal} | ${met} |\n`,
      )
    }
    if (values.json !== undefined) await writeRows(values.json, rows)
  } finally {
    await Promise.all(both.map((one) => one.end()))
  }
}

export const main = () =>
  runCommand(async () => {
    if (asksForHelp(process.argv.slice(2))) process.stdout.write(help)
    else await bench()
    process.exit(0)
  })
