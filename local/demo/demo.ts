/** `npm run demo`: a server on free ports with a fleet of simulated devices; every acknowledged reading is read back. */
import { type ChildProcess, fork } from 'node:child_process'
import { rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { root } from '../../lib/root.ts'
import { numberArgument, parseOptions, runCommand } from '../../scripts/command.ts'
import { Fleet } from '../../simulators/fleet.ts'
import { onInterrupt } from '../../simulators/interrupt.ts'
import { profiles } from '../../simulators/profiles.ts'
import { columns, formatSummary } from '../../simulators/report.ts'
import { temperature } from '../../simulators/signals/climate.ts'
import { FleetView } from '../../simulators/view.ts'
import type { ServerMessage } from './demo-server.ts'

const help = `A server on free ports and six simulated devices, in two processes. All data is deleted at the end.

  npm run demo -- [--duration <s>]   how many seconds the devices send (20)

Exit code: 0 when every acknowledged reading came back exactly, 1 when not, 2 when an argument is wrong.
`

const devices = 6
/** The server promises to end within 5 s of a signal, ms. */
const endMs = 8000

/** The message is one sentence. */
class DemoError extends Error {
  override readonly name = 'DemoError'
}

interface DemoServer {
  readonly httpUrl: string
  readonly mqttUrl: string
  readonly pid: number | undefined
  /** Aborted when the server has ended, for whatever reason. */
  readonly ended: AbortSignal
  /** @throws {DemoError} when the server does not end with exit code 0. */
  end(): Promise<void>
}

const exitOf = (child: ChildProcess): Promise<number | string> =>
  new Promise((resolve) => child.once('exit', (code, signal) => resolve(code ?? signal ?? 'unknown')))

async function startServer(dataDir: string): Promise<DemoServer> {
  const child = fork(fileURLToPath(new URL('scripts/run.mjs', root)), ['local/demo/demo-server.ts', dataDir])
  // However this process ends, the server ends before its data is deleted.
  process.prependListener('exit', () => child.kill('SIGKILL'))
  const exit = exitOf(child)
  const ended = new AbortController()
  void exit.then(() => ended.abort())
  const first = new Promise<ServerMessage>((resolve) =>
    child.once('message', (message) => resolve(message as ServerMessage)),
  )
  const answer = await Promise.race([
    first,
    exit.then(
      (code): ServerMessage => ({ kind: 'failed', message: `The server ended while it started (${code}).` }),
    ),
  ])
  if (answer.kind === 'failed') throw new DemoError(answer.message)
  return {
    httpUrl: answer.httpUrl,
    mqttUrl: answer.mqttUrl,
    pid: child.pid,
    ended: ended.signal,
    async end() {
      if (child.connected) child.disconnect()
      const late = setTimeout(() => child.kill('SIGKILL'), endMs)
      const code = await exit
      clearTimeout(late)
      if (code !== 0) throw new DemoError(`The server ended with an error (${code}).`)
    },
  }
}

const ask = async (url: string): Promise<Record<string, unknown>> => {
  const response = await fetch(url)
  if (!response.ok) throw new DemoError(`GET ${url} was answered with ${response.status}.`)
  return (await response.json()) as Record<string, unknown>
}

const unitOf = (name: string) => {
  const kind = temperature.fields[name]
  return typeof kind === 'object' && 'unit' in kind ? kind.unit : ''
}

const withUnit = (name: string, value: unknown) => {
  const unit = unitOf(name)
  return `${typeof value === 'number' ? Math.round(value * 100) / 100 : value} ${unit}`.trimEnd()
}

/** The answers to one query for the latest reading and one for means, as any client on this machine may send them. */
async function exampleQueries(httpUrl: string, id: number): Promise<string> {
  const base = `/api/v1/telemetry/${id}`
  const window = 'field=temperature&aggregation=mean&window=5s&start_time=-1h'
  const latest = (await ask(`${httpUrl}${base}/latest`)) as { latest_data: Record<string, unknown> }
  const means = (await ask(`${httpUrl}${base}/aggregated?${window}`)) as {
    data: { timestamp: string; value: number }[]
  }
  const block = (path: string, rows: string[][]) =>
    [`GET ${path}`, ...columns(rows).map((line) => `  ${line}`), '', ''].join('\n')
  return (
    block(
      `${base}/latest`,
      Object.entries(latest.latest_data).map(([name, value]) => [name, withUnit(name, value)]),
    ) +
    block(
      `${base}/aggregated?${window}`,
      means.data
        .slice(0, 5)
        .map(({ timestamp, value }) => [timestamp, `${value.toFixed(2)} ${unitOf('temperature')}`]),
    )
  )
}

/** @returns the exit code: 0 when every acknowledged reading came back. */
const runDemo = async (durationS: number): Promise<number> => {
  let ok = false
  const interrupted = onInterrupt()
  const dataDir = await mkdtemp(join(tmpdir(), 'iotflow-demo-'))
  const remove = () => rmSync(dataDir, { recursive: true, force: true })
  process.on('exit', remove)

  const server = await startServer(dataDir)
  process.stdout.write(`IoTFlow demo

  HTTP  ${server.httpUrl}
  MQTT  ${server.mqttUrl}
  data  ${dataDir}, deleted at the end

The server runs in a process of its own (${server.pid}). Six devices register over HTTP, then send one reading
a second for ${durationS} s, three by HTTP and three by MQTT, each reading with the device's own time. A reading
counts as acknowledged with its 201 or its PUBACK. Then every reading is read back and compared.

`)
  const fleet = new Fleet({
    url: server.httpUrl,
    mqttUrl: server.mqttUrl,
    protocol: 'mixed',
    types: Array.from({ length: devices }, () => temperature),
    durationS,
    profile: profiles.high_frequency,
    signal: AbortSignal.any([interrupted, server.ended]),
  })
  const view = new FleetView(fleet, process.stdout)
  view.start()
  try {
    const summary = await fleet.simulate()
    view.stop()
    process.stdout.write(`${formatSummary(summary)}\n`)
    const [shown] = summary.devices
    if (shown && shown.found > 0) process.stdout.write(await exampleQueries(server.httpUrl, shown.id))
    ok = summary.ok
  } finally {
    view.stop()
    await server.end()
    remove()
  }
  process.stdout.write('The server has ended and its data is deleted.\n')
  return ok ? 0 : 1
}

export const main = () =>
  runCommand(() => {
    const { values } = parseOptions({
      options: {
        duration: { type: 'string', default: '20' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    })
    if (!values.help) return runDemo(numberArgument('--duration', values.duration, { min: 1, max: 3600 }))
    process.stdout.write(help)
    return 0
  })
