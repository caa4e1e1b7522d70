/** `npm run bench:devices`: what a large fleet costs those who send and those who look, compared with a small fleet by turns. */
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { root } from '../lib/root.ts'
import { asksForHelp, numberArgument, parseOptions, runCommand } from '../scripts/command.ts'
import { type CheckoutServer, startCheckout } from './checkout.ts'
import { adminToken } from './dashboards.ts'
import { mqttDevices, registerFleet, telemetryRequests } from './fleet.ts'
import { figuresOfRounds, type GoalRow, isMet, type Round, writeRows } from './goal.ts'
import { runHttpLoad } from './http-load.ts'
import { fillFleet } from './large-fleet.ts'
import { BenchError, checkRun, quantile, type Run, settle } from './measure.ts'
import { openMqttLoad } from './mqtt-load.ts'
import { compare, turnsOf } from './ratios.ts'

const help = `Compares a server that knows many devices with one that knows a hundred; in both, the same hundred send.

  npm run bench:devices -- [options]

  --devices <n>   devices of the large fleet (100000)
  --rounds <n>    runs of each (7)
  --seconds <n>   how long a run takes (3)
  --only <names>  of http, mqtt, list, search, dashboard, separated by commas
  --json <file>   writes the rows to a file, too
  --help          this

Linux only: CPU times are read from /proc.
`

const loads = ['http', 'mqtt', 'list', 'search', 'dashboard'] as const
type Load = (typeof loads)[number]

const titles: Record<Load, string> = {
  http: 'HTTP telemetry, 64 connections',
  mqtt: 'MQTT QoS 1, 100 connections',
  list: 'a page of 50 devices',
  search: 'a search that finds 11 devices',
  dashboard: 'the numbers of the dashboard, once in a second',
}

/** Devices that send, and all of the small fleet. */
const senders = 100
/** The most that the large fleet may need, as a ratio. */
const bound = 1.1
const httpConnections = 64
const warmUpSeconds = 2
/** The sweep over devices that are silent comes after 20 s: it writes an event for each, once, ms. */
const firstSweepMs = 25_000
/** The overview is kept for a second, ms. */
const overviewEveryMs = 1100

const getRequest = (path: string) =>
  Buffer.from(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${adminToken}\r\n\r\n`)

interface Subject {
  readonly name: string
  readonly server: CheckoutServer
  readonly run: Readonly<Record<Load, (seconds: number) => Promise<Run>>>
  end(): Promise<void>
}

/** Opens the overview once in a second: in between, it would come from memory. */
const openOverview = async ({ url }: CheckoutServer, seconds: number): Promise<Run> => {
  const latencies: number[] = []
  for (const end = performance.now() + seconds * 1000; performance.now() < end; ) {
    await sleep(overviewEveryMs)
    const began = performance.now()
    const headers = { Authorization: `Bearer ${adminToken}` }
    const response = await fetch(`${url}/api/v1/admin/dashboard`, { headers })
    await response.arrayBuffer()
    if (response.status !== 200) throw new BenchError(`the dashboard got HTTP ${response.status}`)
    latencies.push(performance.now() - began)
  }
  const acknowledged = latencies.length
  return { completed: acknowledged, acknowledged, seconds, latencies, errors: new Map(), loadCpu: 0 }
}

/** The broker opens after HTTP does: with many devices, moments later. */
const untilOpen = async (port: number): Promise<void> => {
  for (let tries = 0; tries < 600; tries += 1) {
    const socket = connect(port, '127.0.0.1')
    const isOpen = await once(socket, 'connect').then(
      () => true,
      () => false,
    )
    socket.destroy()
    if (isOpen) return
    await sleep(50)
  }
  throw new BenchError('the broker does not open')
}

/** @param known devices that are there beside those that send. */
const openSubject = async (workFolder: string, name: string, known: number): Promise<Subject> => {
  const dataDir = join(workFolder, name)
  if (known > 0) await fillFleet(dataDir, { devices: known, readings: 1, days: 30 })
  const settings = {
    ADMIN_TOKEN: adminToken,
    MQTT_URL: '',
    INFLUXDB_URL: '',
    INFLUXDB_TOKEN: '',
    DATABASE_URL: '',
    REDIS_URL: '',
  }
  const server = await startCheckout(fileURLToPath(root), dataDir, settings)
  const fleet = await registerFleet(server.url, senders)
  await untilOpen(server.mqttPort)
  const mqtt = await openMqttLoad(server.mqttPort, mqttDevices(fleet), 1)
  const http = (next: () => Buffer, connections: number, expected: number) => (seconds: number) =>
    runHttpLoad({ port: server.httpPort, connections, seconds, next, expected })
  const get = (path: string) => http(() => getRequest(path), 1, 200)
  return {
    name,
    server,
    run: {
      http: http(telemetryRequests(fleet), httpConnections, 201),
      mqtt: mqtt.run,
      list: get('/api/v1/admin/devices?limit=50'),
      // Of the devices that send: fleet-7 and fleet-70 to fleet-79.
      search: get('/api/v1/admin/devices?limit=50&q=fleet-7'),
      dashboard: (seconds) => openOverview(server, seconds),
    },
    async end() {
      mqtt.close()
      await server.end()
    },
  }
}

const measure = async (one: Subject, all: readonly Subject[], load: Load, seconds: number) => {
  await settle(all.map(({ server }) => server))
  const before = await one.server.cpu()
  const run = checkRun(one.name, await one.run[load](seconds))
  await settle(all.map(({ server }) => server))
  const cpu = ((await one.server.cpu()) - before) / run.acknowledged
  const latencies = [...run.latencies].sort((a, b) => a - b)
  return { cpu, rate: run.completed / run.seconds, latencies } satisfies Round
}

const p50Of = ({ latencies }: Round): number => quantile(latencies, 0.5)

/** Rows of the CPU and, of pages, of the time that somebody waits. */
const rowsOf = (load: Load, large: readonly Round[], small: readonly Round[]): GoalRow[] => {
  const row = (what: string, of: (one: Round) => number): GoalRow => ({
    scenario: `many devices: ${titles[load]}, ${what}`,
    goal: `at most ${bound} × a fleet of ${senders}`,
    bound,
    side: 'most',
    ratio: compare(large.map((one, at) => ({ ours: of(one), other: of(small[at] ?? one) }))),
    ours: figuresOfRounds('large fleet', large),
    peer: figuresOfRounds(`${senders} devices`, small),
    command: `npm run bench:devices -- --only ${load}`,
  })
  const cpu = row('CPU', (one) => one.cpu)
  return load === 'http' || load === 'mqtt' ? [cpu] : [cpu, row('time', p50Of)]
}

const report = (text: string) => process.stderr.write(text)

const measureLoad = async (
  load: Load,
  both: readonly [Subject, Subject],
  { rounds, seconds }: { rounds: number; seconds: number },
): Promise<GoalRow[]> => {
  report(`${titles[load]}\n`)
  const measured = new Map<Subject, Round[]>(both.map((one) => [one, []]))
  for (const one of both) await measure(one, both, load, warmUpSeconds)
  for (let round = 0; round < rounds; round += 1)
    for (const one of turnsOf(round, both)) {
      const measurement = await measure(one, both, load, seconds)
      measured.get(one)?.push(measurement)
      report(
        `  ${round + 1} of ${rounds}  ${one.name.padEnd(5)} ${measurement.cpu.toFixed(1).padStart(9)} µs` +
          ` ${p50Of(measurement).toFixed(2).padStart(8)} ms\n`,
      )
    }
  const [large, small] = both.map((one) => measured.get(one) ?? []) as [Round[], Round[]]
  return rowsOf(load, large, small)
}

const lineOf = (row: GoalRow): string => {
  const { interval, median: ratio } = row.ratio
  const range = interval ? ` (${interval.low.toFixed(3)}–${interval.high.toFixed(3)})` : ''
  return `| ${row.scenario} | ${ratio.toFixed(3)}${range} | ${row.goal} | ${isMet(row) ? 'yes' : 'no'} |\n`
}

const bench = async (): Promise<void> => {
  const { values } = parseOptions({
    options: {
      devices: { type: 'string', default: '100000' },
      rounds: { type: 'string', default: '7' },
      seconds: { type: 'string', default: '3' },
      only: { type: 'string', default: loads.join(',') },
      json: { type: 'string' },
    },
  })
  const devices = numberArgument('--devices', values.devices, { min: senders + 1, max: 1e6, whole: true })
  const rounds = numberArgument('--rounds', values.rounds, { min: 1, max: 100, whole: true })
  const seconds = numberArgument('--seconds', values.seconds, { min: 0.5, max: 600 })
  const only = values.only.split(',')
  const workFolder = await mkdtemp(join(tmpdir(), 'iotflow-devices-'))
  process.on('exit', () => rmSync(workFolder, { recursive: true, force: true }))
  const large = await openSubject(workFolder, 'large', devices - senders)
  const small = await openSubject(workFolder, 'small', 0)
  const rows: GoalRow[] = []
  try {
    await sleep(firstSweepMs)
    for (const load of loads)
      if (only.includes(load)) rows.push(...(await measureLoad(load, [large, small], { rounds, seconds })))
  } finally {
    await Promise.all([large.end(), small.end()])
  }
  process.stdout.write('| Scenario | Ratio | Goal | Met |\n| --- | --- | --- | --- |\n')
  for (const row of rows) process.stdout.write(lineOf(row))
  if (values.json !== undefined) await writeRows(values.json, rows)
}

export const main = () =>
  runCommand(async () => {
    if (asksForHelp(process.argv.slice(2))) process.stdout.write(help)
    else await bench()
    process.exit(0)
  })
