/**
 * `npm run bench:queue`: messages per second that the deployed ingest function stores when SQS delivers them to so many containers.
 * A container is a thread with the bundle of `dist/cloud`, which handles one batch after the other. All share one libSQL server.
 */
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { Worker } from 'node:worker_threads'
import type { SQSBatchResponse, SQSEvent, SQSRecord } from 'aws-lambda'
import { loadConfig } from '../lib/config.ts'
import { readImport } from '../lib/devices/import-file.ts'
import { createLog } from '../lib/log.ts'
import * as runtime from '../lib/runtime.ts'
import { prepareDatabases } from '../local/databases.ts'
import { buildCloudFunction } from '../scripts/build.ts'
import { numberArgument, parseOptions, runCommand, UsageError } from '../scripts/command.ts'
import { freePort } from './free-port.ts'
import { quantile } from './measure.ts'

const help = `Messages per second from the SQS queue into one libSQL server, by the number of containers of the ingest function.

  SQLD=<program of a libSQL server> npm run bench:queue -- [--containers 1,5,20,60] [--batch 100] [--messages 20000] [--devices 1000]

  --containers <list>   how many containers work at once, a run for each
  --batch <n>           messages in one call of the function, 1 to 10000; 1 is what a rule does that calls the function itself
  --messages <n>        messages of one run
  --devices <n>         devices that send them
  --connections <n>     SQLD_MAX_CONCURRENT_CONNECTIONS of the server (default 4)
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

  /** @param bundle URL of the file. */
  static async start(bundle: string, environment: Record<string, string>): Promise<Container> {
    const code = `data:text/javascript,${encodeURIComponent(containerCode)}`
    const options = { workerData: bundle, env: environment, execArgv: [], stdout: true }
    const worker = new Worker(new URL(code), options)
    // The function prints its metrics there.
    worker.stdout.resume()
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

const startServer = async (program: string, folder: string, connections: number) => {
  const url = `http://127.0.0.1:${await freePort()}`
  const args = [
    '--http-listen-addr',
    new URL(url).host,
    '--db-path',
    join(folder, 'data.sqld'),
    '--no-welcome',
    // With more transactions at once the server gets slower with each further one, and with 20 of them it may stand still.
    '--max-concurrent-connections',
    `${connections}`,
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
  /** Deliveries after the first one of a message. */
  readonly again: number
  /** Messages that were not stored. */
  readonly errors: number
  /** Times of the calls, ms, ascending. */
  readonly calls: readonly number[]
}

/** A message that failed so often is an error; SQS delivers for two weeks. */
const mostDeliveries = 20
/** SQS waits longer, ms: here the run would only take longer. */
const againAfterMs = 1000

/** Lets each container handle batches until every message is stored; what failed is delivered again, as SQS does. */
const drain = async (
  containers: readonly Container[],
  records: readonly SQSRecord[],
  batch: number,
): Promise<Run> => {
  const waiting = records.map((record) => ({ record, deliveries: 0 }))
  const calls: number[] = []
  let [again, errors, left] = [0, 0, records.length]
  const began = performance.now()
  await Promise.all(
    containers.map(async (container) => {
      while (left > 0) {
        const taken = waiting.splice(0, batch)
        if (taken.length === 0) {
          // Another container may fail with what it has taken.
          await sleep(10)
          continue
        }
        const called = performance.now()
        const { answer, error } = await container.call({ Records: taken.map(({ record }) => record) })
        calls.push(performance.now() - called)
        const named = new Set(answer?.batchItemFailures.map(({ itemIdentifier }) => itemIdentifier))
        const failed = taken.filter(({ record }) => error !== undefined || named.has(record.messageId))
        for (const one of failed) one.deliveries += 1
        const more = failed.filter(({ deliveries }) => deliveries < mostDeliveries)
        again += more.length
        errors += failed.length - more.length
        left -= taken.length - more.length
        if (more.length > 0) setTimeout(() => waiting.push(...more), againAfterMs)
      }
    }),
  )
  return { seconds: (performance.now() - began) / 1000, again, errors, calls: calls.sort((a, b) => a - b) }
}

const bench = async (): Promise<number> => {
  const { values } = parseOptions({
    options: {
      containers: { type: 'string', default: '1,5,20,60' },
      batch: { type: 'string', default: '100' },
      messages: { type: 'string', default: '20000' },
      devices: { type: 'string', default: '1000' },
      connections: { type: 'string', default: '4' },
      help: { type: 'boolean', short: 'h' },
    },
  })
  if (values.help) {
    process.stdout.write(help)
    return 0
  }
  const whole = (name: 'batch' | 'messages' | 'devices' | 'connections', max: number) =>
    numberArgument(`--${name}`, values[name], { min: 1, max, whole: true })
  const [batch, messages, devices, connections] = [
    whole('batch', 10_000),
    whole('messages', 1_000_000),
    whole('devices', 100_000),
    whole('connections', 1000),
  ]
  const numbers = values.containers
    .split(',')
    .map((text) => numberArgument('--containers', text, { min: 1, max: 200, whole: true }))
  const program = process.env.SQLD
  if (!program) throw new UsageError('SQLD must name the program of a libSQL server.')
  const folder = await mkdtemp(join(tmpdir(), 'iotflow-queue-'))
  const server = await startServer(program, folder, connections)
  try {
    await buildCloudFunction('telemetry-ingest', folder)
    const bundle = pathToFileURL(join(folder, 'telemetry-ingest.mjs')).href
    const environment = {
      STAGE: 'dev',
      TOPIC_ROOT: 'iotflow',
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
    process.stdout.write('containers   messages/s   call p50   call p99   delivered again   errors\n')
    for (const count of numbers) {
      const containers = await Promise.all(
        Array.from({ length: count }, () => Container.start(bundle, environment)),
      )
      const recordsOf = (run: string, of: number) =>
        Array.from({ length: of }, (_, n) => recordOf(n, devices, `${count}-${run}`))
      // One after the other: a new container compiles the bundle at its first call.
      for (const [at, container] of containers.entries())
        await container.call({ Records: recordsOf(`first-${at}`, batch) })
      const before = (await (await runtime.telemetry()).account()).stored
      const { seconds, again, errors, calls } = await drain(containers, recordsOf('run', messages), batch)
      await Promise.all(containers.map((container) => container.end()))
      const stored = (await (await runtime.telemetry()).account()).stored - before
      const ms = (share: number) => `${quantile(calls, share).toFixed(0)} ms`
      process.stdout.write(
        `${String(count).padStart(10)} ${String(Math.round(stored / seconds)).padStart(12)} ${ms(0.5).padStart(10)} ` +
          `${ms(0.99).padStart(10)} ${String(again).padStart(17)} ${String(Math.max(errors, messages - stored)).padStart(8)}\n`,
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
