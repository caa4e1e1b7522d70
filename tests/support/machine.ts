/** The layer as `npm start` runs it: a process of its own, on free ports, with a folder of its own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt'
import { settingNames } from '../../lib/config.ts'
import { deviceTopics } from '../../lib/mqtt/topics.ts'
import { openRegistry, type RegistryDb } from '../../lib/registry/db.ts'
import { createDeadLetters } from '../../lib/telemetry/dead-letters.ts'
import { answerOn } from '../../lib/telemetry/embedded-answers.ts'
import { openFile } from '../../lib/telemetry/embedded-file.ts'
import type { Row } from '../../lib/telemetry/embedded-sql.ts'
import { temporaryFolder } from './temporary.ts'

export interface Device {
  readonly id: number
  readonly name: string
  readonly key: string
}

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** The body as JSON; undefined when it is none. */
  // biome-ignore lint/suspicious/noExplicitAny: what came is what the tests are about.
  readonly body: any
}

export interface Request {
  readonly key?: string
  readonly headers?: Record<string, string>
  /** Text and bytes go as they are, anything else as JSON. */
  readonly body?: unknown
}

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly out: string
  readonly err: string
}

export interface StartOptions {
  /** Settings beside a folder of its own and free ports. */
  readonly settings?: Readonly<Record<string, string>>
  /** Goes before the command: `strace` and the like. */
  readonly prefix?: readonly string[]
}

export interface Machine {
  readonly httpUrl: string
  readonly mqttUrl: string
  readonly wsUrl: string
  readonly dataDir: string
  /** Of Node, whatever stands before it. */
  readonly pid: number
  /** Standard output until now. */
  out(): string
  /** Lines of the log, oldest first. */
  log(): Record<string, unknown>[]
  /** Resident memory, bytes. */
  rss(): number
  /** Sockets that the process has open, listening ones too. */
  sockets(): number
  request(method: string, path: string, request?: Request): Promise<Answer>
  register(name?: string): Promise<Device>
  /** Connects as the device; the client stays away when it is cut off. */
  mqtt(device: Device, options?: IClientOptions): Promise<MqttClient>
  /** What is written, read from the files beside the running process. */
  stored(): Promise<{ devices: number; readings: number; deadLetters: number }>
  /** The registry, opened beside the running process. */
  withRegistry<T>(use: (db: RegistryDb) => Promise<T>): Promise<T>
  /** Puts a message among the dead letters, as the ingest function would. @returns its id. */
  deadLetter(deviceId: number, payload: string): Promise<number>
  kill(signal: NodeJS.Signals): void
  readonly ended: Promise<Ended>
  /** Ends it as an operator would. @throws {Error} with its output when it does not end well. */
  stop(): Promise<void>
}

const root = new URL('../../', import.meta.url).pathname

const command = (): string[] => {
  const { scripts } = JSON.parse(readFileSync(`${root}package.json`, 'utf8')) as {
    scripts: { start: string }
  }
  const [program, ...args] = scripts.start.split(' ')
  if (program !== 'node') throw new Error('npm start is expected to run node')
  return [process.execPath, ...args]
}

/** Empty is not set, and wins over a developer's `.env`. */
const noSettings = Object.fromEntries(settingNames.map((name) => [name, '']))
const freePorts = { PORT: '0', MQTT_PORT: '0', MQTT_WS_PORT: '0' }

const run = ({ settings = {}, prefix = [] }: StartOptions) => {
  const [program = '', ...args] = [...prefix, ...command()]
  const child = spawn(program, args, {
    cwd: root,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...noSettings, ...freePorts, ...settings },
  })
  // A test run that is broken off leaves nothing running.
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

/** Runs it to its end, for starts that are refused. Takes no folder of its own: name one in the settings. */
export const runMachine = (options: StartOptions & { settings: { DATA_DIR: string } }): Promise<Ended> =>
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

/** What the layer would count: what waits in its journal too. */
const count = async (file: string): Promise<number> => {
  const connection = openFile(file, true)
  try {
    const [[found] = []] = (await answerOn(connection)({
      op: 'countSince',
      from: 0n,
      journal: 'fold',
    })) as Row[]
    return Number(found)
  } finally {
    connection.close()
  }
}

/** @throws {Error} with everything the process said when it does not start. */
export async function startMachine(options: StartOptions = {}): Promise<Machine> {
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

  const machine: Machine = {
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
    sockets: () =>
      readdirSync(`/proc/${pid}/fd`).filter((fd) => {
        try {
          return readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith('socket:')
        } catch {
          return false
        }
      }).length,
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
      const text = await response.text()
      return { status: response.status, headers: response.headers, text, body: parsed(text) }
    },
    async register(name = `device-${++names}`) {
      const { status, body, text } = await machine.request('POST', '/api/v1/devices/register', {
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
      machine.withRegistry(async (db) => {
        const letters = createDeadLetters({ db })
        const { telemetryPublish: topic } = deviceTopics(deviceId)
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
      const [devices, deadLetters] = await machine.withRegistry(async ({ $client }) => {
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
      if (over === undefined) machine.kill('SIGTERM')
      const late = sleep(10_000, undefined, { ref: false })
      const end = await Promise.race([ended, late])
      if (end === undefined) process.kill(pid, 'SIGKILL')
      await folder.remove()
      if (end?.code !== 0)
        throw new Error(`npm start ended with ${end?.code ?? end?.signal ?? 'nothing'}:\n${out()}${err()}`)
    },
  }
  return machine
}
