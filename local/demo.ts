/** `npm run demo`: the whole layer on free ports with a fleet of simulated devices, checked to the last reading. */
import { type ChildProcess, fork } from 'node:child_process'
import { rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { numberArgument, UsageError, usageErrorOf } from '../simulators/arguments.ts'
import { runFleet } from '../simulators/fleet.ts'
import { onInterrupt } from '../simulators/interrupt.ts'
import { columns, formatSummary, progressLine } from '../simulators/report.ts'
import { SimulationError } from '../simulators/request.ts'
import { units } from '../simulators/sensor.ts'
import type { LayerMessage } from './demo-layer.ts'

const help = `The whole layer on free ports with six simulated devices, in two processes. Nothing of it stays behind.

  npm run demo -- [--duration <s>]   how long the devices send, seconds (20)

Exit code: 0 when every acknowledged reading came back exactly, 1 when not, 2 when an argument is wrong.
`

const devices = 6
/** The layer promises to end within 5 s. */
const endMs = 8000

class DemoError extends Error {}

interface Layer {
  readonly httpUrl: string
  readonly mqttUrl: string
  readonly pid: number | undefined
  /** Aborted when the layer has ended, asked or not. */
  readonly ended: AbortSignal
  /** @throws {DemoError} when it does not end, or not in good order. */
  end(): Promise<void>
}

const exitOf = (child: ChildProcess): Promise<number | string> =>
  new Promise((resolve) => child.once('exit', (code, signal) => resolve(code ?? signal ?? 'unknown')))

async function startLayer(dataDir: string): Promise<Layer> {
  const child = fork(fileURLToPath(new URL('./demo-layer.ts', import.meta.url)), [dataDir])
  // Whatever ends this process: the layer goes first, then its data.
  process.prependListener('exit', () => child.kill('SIGKILL'))
  const exit = exitOf(child)
  const ended = new AbortController()
  void exit.then(() => ended.abort())
  const first = new Promise<LayerMessage>((resolve) =>
    child.once('message', (message) => resolve(message as LayerMessage)),
  )
  const answer = await Promise.race([
    first,
    exit.then(
      (code): LayerMessage => ({ kind: 'failed', message: `The layer ended at its start (${code}).` }),
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
      if (code !== 0) throw new DemoError(`The layer did not end in good order (${code}).`)
    },
  }
}

const ask = async (url: string): Promise<Record<string, unknown>> => {
  const response = await fetch(url)
  if (!response.ok) throw new DemoError(`GET ${url} was answered with ${response.status}.`)
  return (await response.json()) as Record<string, unknown>
}

const withUnit = (name: string, value: unknown) => {
  const unit = (units as Record<string, string>)[name] ?? ''
  return `${typeof value === 'number' ? Math.round(value * 100) / 100 : value} ${unit}`.trimEnd()
}

/** One latest and one aggregated answer of a device, as anybody on this machine may read them. */
async function taste(httpUrl: string, id: number): Promise<string> {
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
        .map(({ timestamp, value }) => [timestamp, `${value.toFixed(2)} ${units.temperature}`]),
    )
  )
}

const main = async (): Promise<void> => {
  const { values } = (() => {
    try {
      return parseArgs({
        options: {
          duration: { type: 'string', default: '20' },
          help: { type: 'boolean', short: 'h', default: false },
        },
      })
    } catch (error) {
      throw usageErrorOf(error)
    }
  })()
  if (values.help) {
    process.stdout.write(help)
    return
  }
  const durationS = numberArgument('--duration', values.duration, { min: 1, max: 3600 })
  const interrupted = onInterrupt()
  const dataDir = await mkdtemp(join(tmpdir(), 'iotflow-demo-'))
  const remove = () => rmSync(dataDir, { recursive: true, force: true })
  process.on('exit', remove)

  const layer = await startLayer(dataDir)
  process.stdout.write(`IoTFlow demo

  HTTP  ${layer.httpUrl}
  MQTT  ${layer.mqttUrl}
  data  ${dataDir}, removed at the end

The layer runs in a process of its own (${layer.pid}). Six devices register over HTTP, then send one reading
a second for ${durationS} s, three by HTTP and three by MQTT, each reading with the device's own time. A reading
counts as acknowledged with its 201 or its PUBACK. Then all of them are read back and compared.

`)
  const progress = progressLine(process.stdout, durationS)
  try {
    const summary = await runFleet({
      url: layer.httpUrl,
      mqttUrl: layer.mqttUrl,
      protocol: 'both',
      devices,
      durationS,
      rate: 1,
      signal: AbortSignal.any([interrupted, layer.ended]),
      onProgress: progress.show,
    })
    progress.clear()
    process.stdout.write(`${formatSummary(summary)}\n`)
    const [shown] = summary.devices
    if (shown && shown.stored > 0) process.stdout.write(await taste(layer.httpUrl, shown.id))
    process.exitCode = summary.ok ? 0 : 1
  } finally {
    progress.clear()
    await layer.end()
    remove()
  }
  process.stdout.write('The layer has ended and its data is removed.\n')
}

main().catch((error: unknown) => {
  const expected =
    error instanceof DemoError || error instanceof SimulationError || error instanceof UsageError
  if (!expected) console.error(error)
  else process.stderr.write(`${error.message}\n`)
  process.exitCode = error instanceof UsageError ? 2 : 1
})
