/** Runs the standalone server as `npm start` does: as a process, on free ports, with a temporary folder. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt'
import { settingNames } from '../../lib/config.ts'
import { defaultTopics } from '../../lib/mqtt/topics.ts'
import { openRegistry, type RegistryDb } from '../../lib/registry/db.ts'
import { root } from '../../lib/root.ts'
import { createDeadLetters } from '../../lib/telemetry/dead-letters.ts'
import type { Row } from '../../lib/telemetry/embedded/connection.ts'
import { openFile } from '../../lib/telemetry/embedded/file.ts'
import { readingRequests } from '../../lib/telemetry/embedded/reading-requests.ts'
import { answer } from '../../lib/telemetry/embedded/requests.ts'
import { DatabaseSession } from '../../lib/telemetry/embedded/session.ts'
import { temporaryFolder } from './temporary.ts'
import { patienceMs } from './waiting.ts'

export interface Device {
  readonly id: number
  readonly name: string
  readonly key: string
}

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** The body as JSON; undefined when it is not JSON. */
  // biome-ignore lint/suspicious/noExplicitAny: the tests check answers of any shape.
  readonly body: any
}

export interface Request {
  readonly key?: string
  readonly headers?: Record<string, string>
  /** Strings and bytes are sent unchanged, anything else as JSON. */
  readonly body?: unknown
}

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly out: string
  readonly err: string
}

export interface StartOptions {
  /** Settings in addition to the temporary folder and free ports. */
  readonly settings?: Readonly<Record<string, string>>
  /** A command in front of the start command, for example `strace`. */
  readonly prefix?: readonly string[]
}

export interface StandaloneServer {
  readonly httpUrl: string
  readonly mqttUrl: string
  readonly wsUrl: string
  readonly dataDir: string
  /** Process id of Node, not of a command in front of it. */
  readonly pid: number
  /** The standard output so far. */
  out(): string
  /** Lines of the log, oldest first. */
  log(): Record<string, unknown>[]
  /** Resident memory, bytes. */
  rss(): number
  request(method: string, path: string, request?: Request): Promise<Answer>
  register(name?: string): Promise<Device>
  /** Connects as the device; the client does not reconnect. */
  mqtt(device: Device, options?: IClientOptions): Promise<MqttClient>
  /** Counts the stored rows, directly in the files of the running server. */
  stored(): Promise<{ devices: number; readings: number; deadLetters: number }>
  /** Opens the registry while the server runs. */
  withRegistry<T>(use: (db: RegistryDb) => Promise<T>): Promise<T>
  /** Writes a dead letter, as the ingest function does. @returns its id. */
  deadLetter(deviceId: number, payload: string): Promise<number>
  kill(signal: NodeJS.Signals): void
  readonly ended: Promise<Ended>
  /** Stops the server with a signal, as an operator does. @throws {Error} with its output when it fails. */
  stop(): Promise<void>
}

const rootFolder = fileURLToPath(root)

const command = (): string[] => {
  const { scripts } = JSON.parse(readFileSync(`${rootFolder}package.json`, 'utf8')) as {
    scripts: { start: string }
  }
  const [program, ...args] = scripts.start.split(' ')
  if (program !== 'node') throw new Error('npm start is expected to run node')
  return [process.execPath, ...args]
}

/** An empty setting counts as not set, and has priority over the `.env` of a developer. */
const noSettings = Object.fromEntries(settingNames.map((name) => [name, '']))
const freePorts = { PORT: '0', MQTT_PORT: '0', MQTT_WS_PORT: '0' }

const run = ({ settings = {}, prefix = [] }: StartOptions) => {
  const [program = '', ...args] = [...prefix, ...command()]
  const child = spawn(program, args, {
    cwd: rootFolder,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...noSettings, ...freePorts, ...settings },
  })
  // An interrupted test run must not leave the server running.
  const killNow = () => child.kill('SIGKILL')
  process.once('exit', killNow)
  let [out, err] = ['', '']
  child.stdout.on('data', (chunk) => {
    out += chunk
  })
  child.stderr.on('data', (chunk) => {
    err += chunk
  })
  const ended = once(child, 'close')
    .then(
      ([code, signal]): Ended => ({ code, signal, out, err }),
      (error: unknown): Ended => ({ code: null, signal: null, out, err: `${err}${String(error)}` }),
    )
    .finally(() => process.off('exit', killNow))
  return { child, ended, out: () => out, err: () => err }
}

/** Runs the server until it ends, for starts that fail. The settings name its folder. */
export const runUntilEnd = (options: StartOptions & { settings: { DATA_DIR: string } }): Promise<Ended> =>
  run(options).ended

const pidOf = (child: ChildProcess, wrapped: boolean): number => {
  const pid = child.pid ?? 0
  if (!wrapped) return pid
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')[0])
}

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}

/** Counts readings as the server does, with those in the journal. */
const count = async (file: string): Promise<number> => {
  const connection = openFile(file, true)
  try {
    const session = new DatabaseSession(connection)
    let total = 0
    for (let after: number | undefined = 0; after !== undefined; ) {
      const args = { from: 0n, after }
      const [[found, last] = []] = (await answer(session, { query: 'countSince', args, journal: 'fold' }, [
        readingRequests,
      ])) as Row[]
      total += Number(found)
      after = last === null ? undefined : Number(last)
    }
    return total
  } finally {
    connection.close()
  }
}

/** @throws {Error} with the output of the process when it does not start. */
export async function startStandaloneServer(options: StartOptions = {}): Promise<StandaloneServer> {
  const given = options.settings?.DATA_DIR
  const folder = given === undefined ? await temporaryFolder() : { path: given, remove: async () => {} }
  const dataDir = folder.path
  const started = run({ ...options, settings: { DATA_DIR: dataDir, ...options.settings } })
  const { child, ended, out, err } = started
  let over: Ended | undefined
  ended.then((end) => {
    over = end
  })
  while (!out().includes('Ctrl-C ends it.')) {
    if (over) {
      await folder.remove()
      throw new Error(`npm start ended with ${over.code ?? over.signal}:\n${over.out}${over.err}`)
    }
    await sleep(10)
  }
  const pid = pidOf(child, (options.prefix?.length ?? 0) > 0)
  const shown = (name: string) => new RegExp(`^  ${name} +(\\S+)$`, 'm').exec(out())?.[1] ?? ''
  const [httpUrl, mqttUrl, wsUrl] = [shown('HTTP'), shown('MQTT'), shown('WebSocket')]
  let names = 0

  const server: StandaloneServer = {
    httpUrl,
    mqttUrl,
    wsUrl,
    dataDir,
    pid,
    ended,
    out,
    log: () =>
      err()
        .split('\n')
        .filter((line) => line.startsWith('{'))
        .map((line) => JSON.parse(line) as Record<string, unknown>),
    rss: () => Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024,
    async request(method, path, { key, headers = {}, body } = {}) {
      const raw = body === undefined || typeof body === 'string' || body instanceof Uint8Array
      const response = await fetch(`${httpUrl}${path}`, {
        method,
        headers: {
          ...(key === undefined ? {} : { 'X-API-Key': key }),
          ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
          ...headers,
        },
        ...(body === undefined ? {} : { body: raw ? (body as string) : JSON.stringify(body) }),
      })
      const isStream = response.headers.get('content-type') === 'text/event-stream'
      // A stream ends when nobody reads it any more.
      if (isStream) await response.body?.cancel()
      const text = isStream ? '' : await response.text()
      return { status: response.status, headers: response.headers, text, body: parsed(text) }
    },
    async register(name = `device-${++names}`) {
      const { status, body, text } = await server.request('POST', '/api/v1/devices/register', {
        body: { name, device_type: 'sensor' },
      })
      if (status !== 201) throw new Error(`not registered: ${status} ${text}`)
      return { id: body.device.id, name, key: body.device.api_key }
    },
    async mqtt({ id, key }, more) {
      const client = await connectAsync(mqttUrl, {
        protocolVersion: 4,
        reconnectPeriod: 0,
        clientId: `${id}`,
        username: `${id}`,
        password: key,
        ...more,
      })
      client.on('error', () => {})
      return client
    },
    withRegistry: async (use) => {
      const registry = await openRegistry({ url: `file:${dataDir}/registry.db` })
      try {
        return await use(registry.db)
      } finally {
        registry.close()
      }
    },
    deadLetter: (deviceId, payload) =>
      server.withRegistry(async (db) => {
        const letters = createDeadLetters({ db })
        const { telemetryPublish: topic } = defaultTopics.of(deviceId)
        const letter = {
          deviceId,
          topic,
          reason: 'Put here by a test.',
          receivedAt: Date.now(),
          messageId: 'test',
        }
        await letters.keep({ ...letter, payload: Buffer.from(payload) })
        return (await letters.list({ limit: 1, deviceId })).letters[0]?.id ?? 0
      }),
    async stored() {
      const [devices, deadLetters] = await server.withRegistry(async ({ $client }) => {
        const { rows } = await $client.execute(
          'SELECT (SELECT count(*) FROM devices) AS a, (SELECT count(*) FROM dead_letters) AS b',
        )
        return [Number(rows[0]?.a), Number(rows[0]?.b)]
      })
      return {
        devices: devices ?? 0,
        readings: await count(`${dataDir}/telemetry.db`),
        deadLetters: deadLetters ?? 0,
      }
    },
    kill: (signal) => {
      process.kill(pid, signal)
    },
    async stop() {
      if (over === undefined) server.kill('SIGTERM')
      const late = sleep(patienceMs, undefined, { ref: false })
      const end = await Promise.race([ended, late])
      if (end === undefined) process.kill(pid, 'SIGKILL')
      await folder.remove()
      if (end?.code !== 0)
        throw new Error(`npm start ended with ${end?.code ?? end?.signal ?? 'nothing'}:\n${out()}${err()}`)
    },
  }
  return server
}
