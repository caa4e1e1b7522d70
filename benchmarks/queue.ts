/**
 * `npm run bench:queue`: messages per second that the deployed ingest function stores when SQS delivers them to so many containers.
 * A container is a thread with the bundle of `dist/cloud`, which handles one batch after the other. All share one libSQL server.
 */
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import type { SQSBatchResponse, SQSEvent, SQSRecord } from 'aws-lambda'
import { loadConfig } from '../lib/config.ts'
import { readImport } from '../lib/devices/import-file.ts'
import { createLog } from '../lib/log.ts'
import { root } from '../lib/root.ts'
import * as runtime from '../lib/runtime.ts'
import { prepareDatabases } from '../local/databases.ts'
import { buildCloud } from '../scripts/build.ts'
import { numberArgument, parseOptions, runCommand, UsageError } from '../scripts/command.ts'
import { freePort } from './free-port.ts'
import { quantile } from './measure.ts'

const help = `Messages per second from the SQS queue into one libSQL server, by the number of containers of the ingest function.

  SQLD=<program of a libSQL server> npm run bench:queue -- [--containers 1,5,20,60] [--batch 100] [--messages 20000] [--devices 1000]

  --containers <list>   how many containers work at once, a run for each
  --batch <n>           messages in one call of the function, 1 to 10000; 1 is what a rule does that calls the function itself
  --messages <n>        messages of one run
  --devices <n>         devices that send them
`

/** A container: loads the bundle, then answers one event after the other. */
const containerCode = `
import { parentPort, workerData } from 'node:worker_threads'
const { handler } = await import(workerData)
parentPort.postMessage('ready')
parentPort.on('message', async (event) => {
  try {
    parentPort.postMessage({ answer: await handler(event, { invokedFunctionArn: 'arn:aws:lambda:eu-central-1:123456789012:function:queue' }) })
  } catch (error) {
    parentPort.postMessage({ error: String(error?.message) })
  }
})`

interface Answer {
  readonly answer?: SQSBatchResponse
  readonly error?: string
}

class Container {
  readonly #worker: Worker

  private constructor(worker: Worker) {
    this.#worker = worker
  }

  static async start(environment: Record<string, string>): Promise<Container> {
    const bundle = new URL('dist/cloud/telemetry-ingest.mjs', root).href
    const code = `data:text/javascript,${encodeURIComponent(containerCode)}`
    const worker = new Worker(new URL(code), { workerData: bundle, env: environment, execArgv: [] })
    await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
    return new Container(worker)
  }

  call(event: SQSEvent): Promise<Answer> {
    return new Promise((resolve) => {
      this.#worker.once('message', resolve)
      this.#worker.postMessage(event)
    })
  }

  end(): Promise<unknown> {
    return this.#worker.terminate()
  }
}

/** One message as the rule puts it into the queue. */
const recordOf = (n: number, devices: number, run: string): SQSRecord => {
  const payload = { temperature: 20 + (n % 100) / 10, humidity: 60, n }
  const event = {
    payload: Buffer.from(JSON.stringify(payload)).toString('base64'),
    topic: `iotflow/devices/${(n % devices) + 1}/telemetry`,
    client_id: String((n % devices) + 1),
    received_at: Date.now(),
    message_id: `${run}-${n}`,
  }
  return { messageId: `${run}-${n}`, body: JSON.stringify(event) } as SQSRecord
}

const startServer = async (program: string, folder: string) => {
  const url = `http://127.0.0.1:${await freePort()}`
  const args = [
    '--http-listen-addr',
    new URL(url).host,
    '--db-path',
    join(folder, 'data.sqld'),
    '--no-welcome',
  ]
  const child = spawn(program, args, { cwd: folder, stdio: 'ignore' })
  const ended = new Promise((_, reject) => {
    child.once('error', reject)
    child.once('exit', (code) => reject(new Error(`The libSQL server ended with ${code}.`)))
  })
  ended.catch(() => undefined)
  const isUp = () =>
    fetch(`${url}/health`)
      .then(({ ok }) => ok)
      .catch(() => false)
  for (let tries = 0; !(await Promise.race([isUp(), ended])); tries += 1) {
    if (tries === 200) throw new Error('The libSQL server did not start.')
    await sleep(50)
  }
  return { url, end: () => child.kill('SIGKILL') }
}

interface Run {
  readonly seconds: number
  readonly failed: number
  /** Times of the calls, ms, ascending. */
  readonly calls: readonly number[]
}

/** Lets each container handle batches until no message is left; what failed is not delivered again. */
const drain = async (
  containers: readonly Container[],
  records: readonly SQSRecord[],
  batch: number,
): Promise<Run> => {
  const calls: number[] = []
  let [next, failed] = [0, 0]
  const began = performance.now()
  await Promise.all(
    containers.map(async (container) => {
      while (next < records.length) {
        const Records = records.slice(next, next + batch)
        next += Records.length
        const called = performance.now()
        const { answer, error } = await container.call({ Records })
        calls.push(performance.now() - called)
        failed += error === undefined ? (answer?.batchItemFailures.length ?? 0) : Records.length
      }
    }),
  )
  return { seconds: (performance.now() - began) / 1000, failed, calls: calls.sort((a, b) => a - b) }
}

const bench = async (): Promise<number> => {
  const { values } = parseOptions({
    options: {
      containers: { type: 'string', default: '1,5,20,60' },
      batch: { type: 'string', default: '100' },
      messages: { type: 'string', default: '20000' },
      devices: { type: 'string', default: '1000' },
      help: { type: 'boolean', short: 'h' },
    },
  })
  if (values.help) {
    process.stdout.write(help)
    return 0
  }
  const whole = (name: 'batch' | 'messages' | 'devices', max: number) =>
    numberArgument(`--${name}`, values[name], { min: 1, max, whole: true })
  const [batch, messages, devices] = [
    whole('batch', 10_000),
    whole('messages', 1_000_000),
    whole('devices', 100_000),
  ]
  const numbers = values.containers
    .split(',')
    .map((text) => numberArgument('--containers', text, { min: 1, max: 200, whole: true }))
  const program = process.env.SQLD
  if (!program) throw new UsageError('SQLD must name the program of a libSQL server.')
  const folder = await mkdtemp(join(tmpdir(), 'iotflow-queue-'))
  const server = await startServer(program, folder)
  try {
    await buildCloud()
    const environment = {
      STAGE: 'dev',
      DATABASE_URL: server.url,
      LOG_LEVEL: 'silent',
      AWS_REGION: 'eu-central-1',
    }
    const config = loadConfig({ ...environment, DATA_DIR: folder })
    await prepareDatabases(config, createLog('silent'))
    runtime.configure({ config })
    const registry = await runtime.devices()
    const file = Array.from(
      { length: devices },
      (_, n) => `{"name":"device ${n + 1}","device_type":"sensor"}`,
    )
    const rows = readImport(Buffer.from(file.join('\n')), 'ndjson', devices)
    await registry.importRows(rows, { upsert: false, dryRun: false })
    process.stdout.write(`${messages} messages of ${devices} devices, ${batch} in a call\n\n`)
    process.stdout.write('containers   messages/s   call p50   call p99   failed    stored\n')
    for (const count of numbers) {
      const containers = await Promise.all(Array.from({ length: count }, () => Container.start(environment)))
      const before = (await (await runtime.telemetry()).account()).stored
      const records = Array.from({ length: messages }, (_, n) => recordOf(n, devices, `${count}`))
      const { seconds, failed, calls } = await drain(containers, records, batch)
      await Promise.all(containers.map((container) => container.end()))
      const stored = (await (await runtime.telemetry()).account()).stored - before
      const ms = (share: number) => `${quantile(calls, share).toFixed(0)} ms`
      process.stdout.write(
        `${String(count).padStart(10)} ${String(Math.round(messages / seconds)).padStart(12)} ${ms(0.5).padStart(10)} ` +
          `${ms(0.99).padStart(10)} ${String(failed).padStart(8)} ${String(stored).padStart(9)}\n`,
      )
    }
    await runtime.close()
  } finally {
    server.end()
    await rm(folder, { recursive: true, force: true })
  }
  return 0
}

export const main = () => runCommand(bench)
