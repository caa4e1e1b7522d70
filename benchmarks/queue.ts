/**
 * `npm run bench:queue`: messages per second that the deployed ingest function stores when SQS delivers them to so many containers.
 * A container is a thread with the bundle of `dist/cloud`, which handles one batch after the other. All share one libSQL server.
 */
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { platform, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import type { SQSRecord } from 'aws-lambda'
import pTimeout from 'p-timeout'
import type { TelemetryEvent } from '../functions/telemetry/ingest.ts'
import { loadConfig } from '../lib/config.ts'
import { readImport } from '../lib/devices/import-file.ts'
import { createLog } from '../lib/log.ts'
import * as runtime from '../lib/runtime.ts'
import { prepareDatabases } from '../local/databases.ts'
import { buildCloudFunction } from '../scripts/build.ts'
import { numberArgument, parseOptions, runCommand, UsageError } from '../scripts/command.ts'
import { freePort } from './free-port.ts'
import { BenchError, quantile } from './measure.ts'
import { processTreeCpu } from './process-tree.ts'
import { type Answer, Container } from './queue-container.ts'

/** With three or more, sqld 0.24 can lose the turn of a writer; then no write ever ends. docs/scaling.md tells how. */
export const defaultConnections = 2

const help = `Messages per second from the SQS queue into one libSQL server, by the number of containers of the ingest function.

  SQLD=<program of a libSQL server> npm run bench:queue -- [--containers 1,5,20,60] [--batch 100] [--messages 20000] [--devices 1000]

  --containers <list>   how many containers work at once, a run for each
  --batch <n>           messages in one call of the function, 1 to 10000; 1 is what a rule does that calls the function itself
  --messages <n>        messages of one run
  --devices <n>         devices that send them
  --connections <n>     SQLD_MAX_CONCURRENT_CONNECTIONS of the server (default ${defaultConnections})
  --seconds <n>         most that one run may take (default 60); the benchmark fails when it is not at its end by then
`

const topicRoot = 'iotflow'
const region = 'eu-central-1'

/** One message as the rule puts it into the queue. */
const recordOf = (n: number, devices: number, run: string): SQSRecord => {
  const payload = { temperature: 20 + (n % 100) / 10, humidity: 60, n }
  const messageId = `${run}-${n}`
  const now = Date.now()
  const event: TelemetryEvent = {
    payload: Buffer.from(JSON.stringify(payload)).toString('base64'),
    topic: `${topicRoot}/devices/${(n % devices) + 1}/telemetry`,
    client_id: String((n % devices) + 1),
    received_at: now,
    message_id: messageId,
  }
  return {
    messageId,
    receiptHandle: messageId,
    body: JSON.stringify(event),
    attributes: {
      ApproximateReceiveCount: '1',
      SentTimestamp: `${now}`,
      SenderId: 'rule',
      ApproximateFirstReceiveTimestamp: `${now}`,
    },
    messageAttributes: {},
    md5OfBody: '',
    eventSource: 'aws:sqs',
    eventSourceARN: 'arn:aws:sqs:eu-central-1:123456789012:spool',
    awsRegion: region,
  }
}

/** A message that comes again says so. */
const deliveredAgain = (record: SQSRecord, deliveries: number): SQSRecord => ({
  ...record,
  attributes: { ...record.attributes, ApproximateReceiveCount: `${deliveries + 1}` },
})

const startServer = async (program: string, folder: string, connections: number) => {
  const url = `http://127.0.0.1:${await freePort()}`
  const args = [
    '--http-listen-addr',
    new URL(url).host,
    '--db-path',
    join(folder, 'data.sqld'),
    '--no-welcome',
    '--max-concurrent-connections',
    `${connections}`,
    // The others wait for their turn for a second by default, then get 429; that is too short for many containers.
    '--connection-creation-timeout-sec',
    '4',
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
  return { url, pid: child.pid ?? 0, end: () => child.kill('SIGKILL') }
}

interface Drained {
  readonly seconds: number
  /** Deliveries after the first one of a message. */
  readonly again: number
  /** Messages that failed at every delivery. */
  readonly errors: number
  /** Calls that ended with an error in place of an answer. */
  readonly failedCalls: number
  /** Times of the calls, ms, ascending. */
  readonly calls: readonly number[]
}

/** A message that failed so often is an error; SQS delivers for two weeks. */
const mostDeliveries = 20
/** SQS waits longer, ms: here the run would only take longer. */
const againAfterMs = 1000

/** The messages of a batch that are to be delivered again. */
const failedOf = <T extends { record: SQSRecord }>(taken: readonly T[], { answer, error }: Answer): T[] => {
  const named = new Set(answer?.batchItemFailures.map(({ itemIdentifier }) => itemIdentifier))
  return taken.filter(({ record }) => error !== undefined || named.has(record.messageId))
}

/**
 * Lets each container handle batches until every message is stored; what failed is delivered again, as SQS does.
 * @throws {BenchError} when it is not at its end in time.
 */
const drain = async (
  containers: readonly Container[],
  records: readonly SQSRecord[],
  { batch, seconds: most }: Pick<Load, 'batch' | 'seconds'>,
): Promise<Drained> => {
  const waiting = records.map((record) => ({ record, deliveries: 0 }))
  const calls: number[] = []
  let [again, errors, failedCalls, left, isOver] = [0, 0, 0, records.length, false]
  const began = performance.now()
  const work = async (container: Container) => {
    while (left > 0 && !isOver) {
      const taken = waiting.splice(0, batch)
      if (taken.length === 0) {
        // Another container may fail with what it has taken.
        await sleep(10)
        continue
      }
      const called = performance.now()
      const answer = await container.call({
        Records: taken.map(({ record, deliveries }) => deliveredAgain(record, deliveries)),
      })
      calls.push(performance.now() - called)
      if (answer.error !== undefined) failedCalls += 1
      const failed = failedOf(taken, answer)
      for (const one of failed) one.deliveries += 1
      const more = failed.filter(({ deliveries }) => deliveries < mostDeliveries)
      again += more.length
      errors += failed.length - more.length
      left -= taken.length - more.length
      if (more.length > 0) setTimeout(() => waiting.push(...more), againAfterMs)
    }
  }
  await pTimeout(Promise.all(containers.map(work)), {
    milliseconds: most * 1000,
    fallback: () => {
      isOver = true
      throw new BenchError(
        `The run with ${containers.length} containers was not at its end after ${most} s: ` +
          `${left} of ${records.length} messages were not stored, ${again} were delivered again.`,
      )
    },
  })
  const seconds = (performance.now() - began) / 1000
  return { seconds, again, errors, failedCalls, calls: calls.sort((a, b) => a - b) }
}

/** CPU time so far, µs. @param server its process; it counts on Linux only. */
const cpuOf = async (server: number) => {
  const { user, system } = process.cpuUsage()
  return { containers: user + system, server: platform() === 'linux' ? await processTreeCpu(server) : 0 }
}

export interface Load {
  /** Containers that work at once, a run for each. */
  readonly containers: readonly number[]
  /** Messages in one call. */
  readonly batch: number
  /** Of one run. */
  readonly messages: number
  readonly devices: number
  /** Of the libSQL server at once. */
  readonly connections: number
  /** Most that one run may take. */
  readonly seconds: number
}

export interface Row extends Pick<Drained, 'again' | 'calls'> {
  readonly containers: number
  /** Messages stored per second. */
  readonly rate: number
  /** Messages that were not stored, and calls that ended with an error. */
  readonly errors: number
  /** CPU time of 1,000 messages, ms: of the libSQL server, and of all containers with what hands them their batches. */
  readonly cpu: { readonly server: number; readonly containers: number }
}

/** Lets each container handle a batch: a new one compiles the bundle at its first call. */
const callFirst = async (
  containers: readonly Container[],
  firstBatch: (container: number) => readonly SQSRecord[],
): Promise<void> => {
  // One after the other: nothing but a defect lets such a call fail.
  for (const [at, container] of containers.entries()) {
    const taken = firstBatch(at).map((record) => ({ record }))
    const answer = await container.call({ Records: taken.map(({ record }) => record) })
    if (failedOf(taken, answer).length > 0)
      throw new BenchError(`The first call of a container failed${answer.error ? `: ${answer.error}` : ''}.`)
  }
}

const registerDevices = async (count: number) => {
  const lines = Array.from({ length: count }, (_, n) => `{"name":"device ${n + 1}","device_type":"sensor"}`)
  const rows = readImport(Buffer.from(lines.join('\n')), 'ndjson', count)
  await (await runtime.devices()).importRows(rows, { upsert: false, dryRun: false })
}

/**
 * Measures one run after the other on a libSQL server of its own.
 * @param onRow gets each run when it is over.
 * @param onLog gets whole lines of the containers' logs: their warnings and errors.
 * @param settings of the containers, in place of their own.
 * @throws {BenchError} when the first call of a container fails, or a run is not at its end in time.
 */
export async function measureQueue(
  { containers: numbers, batch, messages, devices, connections, seconds: most }: Load,
  onRow: (row: Row) => void,
  onLog: (lines: string) => void,
  settings: Readonly<Record<string, string>> = {},
): Promise<void> {
  const program = process.env.SQLD
  if (!program) throw new UsageError('SQLD must name the program of a libSQL server.')
  const folder = await mkdtemp(join(tmpdir(), 'iotflow-queue-'))
  const server = await startServer(program, folder, connections)
  try {
    await buildCloudFunction('telemetry-ingest', folder)
    const bundle = pathToFileURL(join(folder, 'telemetry-ingest.mjs')).href
    const environment = {
      STAGE: 'dev',
      TOPIC_ROOT: topicRoot,
      DATABASE_URL: server.url,
      LOG_LEVEL: 'warn',
      AWS_REGION: region,
    }
    const config = loadConfig({ ...environment, DATA_DIR: folder })
    await prepareDatabases(config, createLog('silent'))
    runtime.configure({ config })
    await registerDevices(devices)
    const storedNow = async () => (await (await runtime.telemetry()).account()).stored
    const start = () => Container.start(bundle, { ...environment, ...settings }, onLog)
    for (const count of numbers) {
      const recordsOf = (run: string, of: number) =>
        Array.from({ length: of }, (_, n) => recordOf(n, devices, `${count}-${run}`))
      const containers = await Promise.all(Array.from({ length: count }, start))
      const run = async () => {
        await callFirst(containers, (at) => recordsOf(`first-${at}`, batch))
        const before = await storedNow()
        const cpuBefore = await cpuOf(server.pid)
        const drained = await drain(containers, recordsOf('run', messages), { batch, seconds: most })
        return { before, cpuBefore, drained, cpuAfter: await cpuOf(server.pid) }
      }
      const { before, cpuBefore, drained, cpuAfter } = await run().finally(() =>
        Promise.all(containers.map((container) => container.end())),
      )
      const stored = (await storedNow()) - before
      const { seconds, again, calls, failedCalls } = drained
      const errors = Math.max(drained.errors, messages - stored) + failedCalls
      const per1000 = (side: 'server' | 'containers') => (cpuAfter[side] - cpuBefore[side]) / messages
      const cpu = { server: per1000('server'), containers: per1000('containers') }
      onRow({ containers: count, rate: stored / seconds, again, calls, errors, cpu })
    }
  } finally {
    await runtime.close()
    server.end()
    await rm(folder, { recursive: true, force: true })
  }
}

const printRow = ({ containers, rate, calls, again, errors, cpu }: Row) => {
  const ms = (share: number) => `${quantile(calls, share).toFixed(0)} ms`
  process.stdout.write(
    `${String(containers).padStart(10)} ${String(Math.round(rate)).padStart(12)} ${ms(0.5).padStart(10)} ` +
      `${ms(0.99).padStart(10)} ${String(again).padStart(17)} ${String(errors).padStart(8)} ` +
      `${cpu.server.toFixed(0).padStart(8)} + ${cpu.containers.toFixed(0).padStart(4)} ms\n`,
  )
}

/** Prints what the containers wrote to their logs first: it names the place of an error. */
const printFirst = (lines: string) => {
  const [first = ''] = lines.split('\n')
  process.stderr.write(`First line of the containers' logs: ${first}\n`)
}

const parseLoad = (values: Readonly<Record<'containers' | Whole, string>>): Load => {
  const whole = (name: Whole, max: number) =>
    numberArgument(`--${name}`, values[name], { min: 1, max, whole: true })
  return {
    containers: values.containers
      .split(',')
      .map((text) => numberArgument('--containers', text, { min: 1, max: 200, whole: true })),
    batch: whole('batch', 10_000),
    messages: whole('messages', 1_000_000),
    devices: whole('devices', 100_000),
    connections: whole('connections', 1000),
    seconds: whole('seconds', 3600),
  }
}

type Whole = 'batch' | 'messages' | 'devices' | 'connections' | 'seconds'

const bench = async (): Promise<number> => {
  const { values } = parseOptions({
    options: {
      containers: { type: 'string', default: '1,5,20,60' },
      batch: { type: 'string', default: '100' },
      messages: { type: 'string', default: '20000' },
      devices: { type: 'string', default: '1000' },
      connections: { type: 'string', default: `${defaultConnections}` },
      seconds: { type: 'string', default: '60' },
      help: { type: 'boolean', short: 'h' },
    },
  })
  if (values.help) {
    process.stdout.write(help)
    return 0
  }
  const load = parseLoad(values)
  process.stdout.write(`${load.messages} messages of ${load.devices} devices, ${load.batch} in a call\n\n`)
  process.stdout.write(
    'containers   messages/s   call p50   call p99   delivered again   errors   CPU of 1,000: server + containers\n',
  )
  let [errors, isLogged] = [0, false]
  const onRow = (row: Row) => {
    printRow(row)
    errors += row.errors
  }
  await measureQueue(load, onRow, (lines) => {
    if (!isLogged) printFirst(lines)
    isLogged = true
  })
  return errors === 0 ? 0 : 1
}

export const main = () => runCommand(bench)
