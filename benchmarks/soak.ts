/** `npm run bench:soak`: full load over HTTP and MQTT for a quarter of an hour; the heap must not grow and nothing may be lost. */
import { closeSync, openSync, rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { asksForHelp, numberArgument, parseOptions, runCommand } from '../scripts/command.ts'
import { countStored, mqttDevices, registerFleet, telemetryRequests } from './fleet.ts'
import { type GoalRow, isMet, writeRows } from './goal.ts'
import { runHttpLoad } from './http-load.ts'
import { BenchError, checkRun, median, quantile, type Run } from './measure.ts'
import { openMqttLoad } from './mqtt-load.ts'
import { startServer } from './process.ts'
import { compare } from './ratios.ts'
import type { StandaloneFacts } from './servers/standalone.ts'
import { slopeOf } from './slope.ts'

const help = `Full load over HTTP and MQTT together on the embedded stores. The heap is measured after a collection, every 30 s.

  npm run bench:soak -- [options]

  --minutes <n>  how long (15)
  --json <file>  writes the figures there
  --help         this
`

const fleetSize = 1000
const httpConnections = 64
const windowSeconds = 30
/** The heap of the last third of the time may be this much larger than that of the second third. */
const mostGrowth = 1.05

/** What was measured after one window of load. */
interface Window {
  readonly minute: number
  /** Of the main thread, bytes. */
  readonly heap: number
  readonly rss: number
  readonly rate: number
}

const print = (text: string) => process.stdout.write(`${text}\n`)
const mb = (bytes: number) => (bytes / 1e6).toFixed(1)

const soak = async (windows: number, dir: string): Promise<GoalRow> => {
  const log = openSync(join(dir, 'server.log'), 'w')
  const args = [join(dir, 'data'), 'LOG_LEVEL=warn']
  const server = await startServer<StandaloneFacts>('standalone.ts', { args, stderr: log })
  try {
    const url = `http://127.0.0.1:${server.facts.httpPort}`
    const fleet = await registerFleet(url, fleetSize)
    const mqtt = await openMqttLoad(server.facts.mqttPort, mqttDevices(fleet), 1)
    const next = telemetryRequests(fleet)
    const http = () =>
      runHttpLoad({
        port: server.facts.httpPort,
        connections: httpConnections,
        seconds: windowSeconds,
        next,
        expected: 201,
      })
    const measured: Window[] = []
    const latencies: number[] = []
    let acknowledged = 0
    const take = (run: Run) => {
      acknowledged += checkRun('server', run).acknowledged
      for (const latency of run.latencies) if (latencies.length < 5e6) latencies.push(latency)
      return run.completed
    }
    const cpu = await server.cpu()
    for (let at = 1; at <= windows; at++) {
      const runs = await Promise.all([http(), mqtt.run(windowSeconds)])
      const completed = runs.reduce((sum, run) => sum + take(run), 0)
      const [heap, rss] = [(await server.ask('heap')) as number, await server.rss()]
      const window = { minute: (at * windowSeconds) / 60, heap, rss, rate: completed / windowSeconds }
      measured.push(window)
      print(
        `${window.minute.toFixed(1).padStart(5)} min  ${Math.round(window.rate)} messages/s  heap ${mb(heap)} MB  RSS ${mb(rss)} MB`,
      )
    }
    const used = (await server.cpu()) - cpu
    mqtt.close()
    const stored = await countStored(url, fleet)
    print(`${acknowledged} messages acknowledged, ${stored} stored, ${acknowledged - stored} lost`)
    if (stored !== acknowledged) throw new BenchError('readings were lost')
    const third = Math.floor(windows / 3)
    const [before, after] = [measured.slice(-2 * third, -third), measured.slice(-third)]
    const heaps = measured.slice(-2 * third).map(({ minute, heap }) => [minute, heap / 1000] as const)
    print(`slope of the heap after the first third: ${slopeOf(heaps).toFixed(1)} KB a minute`)
    latencies.sort((a, b) => a - b)
    const minutes = (windows * windowSeconds) / 60
    return {
      scenario: `${minutes} minutes of full load over HTTP and MQTT`,
      goal: 'the heap is flat (last third of the time : second third), and nothing is lost',
      bound: mostGrowth,
      side: 'most',
      ratio: compare(after.map(({ heap }, at) => ({ ours: heap, other: before[at]?.heap ?? heap }))),
      ours: {
        name: 'server',
        rate: median(measured.map(({ rate }) => rate)),
        p50: quantile(latencies, 0.5),
        p95: quantile(latencies, 0.95),
        p99: quantile(latencies, 0.99),
        cpu: used / acknowledged,
        rss: measured.at(-1)?.rss ?? Number.NaN,
        sent: acknowledged,
        acknowledged,
        stored,
      },
      command: `npm run bench:soak -- --minutes ${minutes}`,
    }
  } finally {
    await server.end()
    closeSync(log)
  }
}

export const main = () =>
  runCommand(async () => {
    if (asksForHelp(process.argv.slice(2))) {
      process.stdout.write(help)
      return 0
    }
    const { values } = parseOptions({
      options: { minutes: { type: 'string', default: '15' }, json: { type: 'string' } },
    })
    const minutes = numberArgument('--minutes', values.minutes, { min: 2, max: 600 })
    const dir = await mkdtemp(join(tmpdir(), 'iotflow-soak-'))
    process.on('exit', () => rmSync(dir, { recursive: true, force: true }))
    const row = await soak(Math.round((minutes * 60) / windowSeconds), dir)
    if (values.json !== undefined) await writeRows(values.json, [row])
    print(`heap, last third to second third: ${row.ratio.median.toFixed(3)} (at most ${mostGrowth})`)
    return isMet(row) ? 0 : 1
  })
