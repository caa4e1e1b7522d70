/** Runs the server of a checkout as its own `npm start` does. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { mkdir, readFile } from 'node:fs/promises'
import { delimiter, join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from './free-port.ts'
import { BenchError } from './measure.ts'
import { processTreeCpu } from './process-tree.ts'

export interface CheckoutServer {
  readonly url: string
  readonly httpPort: number
  /** Of the embedded broker, when the settings do not name another one. */
  readonly mqttPort: number
  readonly pid: number
  /** CPU that the server and its children have used so far, µs. */
  cpu(): Promise<number>
  end(): Promise<void>
}

/** Every request is counted by the limiter, and none is refused. */
const outOfReach = '100000000'

/** Milliseconds. A first start may build the server. */
const startMs = 120_000
/** Milliseconds. The server promises to end within 5 s. */
const endMs = 8000

const startCommandOf = async (folder: string): Promise<string> => {
  const text = await readFile(join(folder, 'package.json'), 'utf8').catch(() => {
    throw new BenchError(`${folder} has no package.json`)
  })
  const { scripts } = JSON.parse(text) as { scripts?: { start?: string } }
  if (scripts?.start === undefined) throw new BenchError(`${folder}/package.json has no script "start"`)
  return scripts.start
}

const isHealthy = async (url: string): Promise<boolean> => {
  const response = await fetch(`${url}/health`).catch(() => undefined)
  await response?.arrayBuffer()
  return response?.status === 200
}

const endProcess = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.kill('SIGTERM')
  const late = setTimeout(() => child.kill('SIGKILL'), endMs)
  await ended
  clearTimeout(late)
}

/**
 * Starts the server and waits until it is healthy.
 * @param folder of the checkout, with its node_modules.
 * @param dataDir gets the data, and the server's log beside it.
 * @param settings environment variables in addition to the ports and the limits.
 * @throws {BenchError} when it does not start.
 */
export async function startCheckout(
  folder: string,
  dataDir: string,
  settings: Readonly<Record<string, string>>,
): Promise<CheckoutServer> {
  const command = await startCommandOf(folder)
  await mkdir(dataDir, { recursive: true })
  const [httpPort, mqttPort] = [await freePort(), await freePort()]
  const { PATH = '', HOME = '' } = process.env
  const env = {
    PATH: `${join(resolve(folder), 'node_modules/.bin')}${delimiter}${PATH}`,
    HOME,
    PORT: String(httpPort),
    MQTT_PORT: String(mqttPort),
    MQTT_WS_PORT: 'none',
    MQTT_TLS_PORT: 'none',
    DATA_DIR: dataDir,
    LOG_LEVEL: 'warn',
    RATE_LIMIT_PER_MINUTE: outOfReach,
    RATE_LIMIT_TELEMETRY_PER_MINUTE: outOfReach,
    RATE_LIMIT_REGISTER_PER_5_MINUTES: outOfReach,
    RATE_LIMIT_IP_PER_MINUTE: outOfReach,
    ...settings,
  }
  const logFile = `${dataDir}.log`
  const log = openSync(logFile, 'a')
  // `exec` replaces the shell, so that a signal reaches the server and not a shell around it.
  const child = spawn('sh', ['-c', `exec ${command}`], { cwd: folder, env, stdio: ['ignore', log, log] })
  closeSync(log)
  const kill = () => child.kill('SIGKILL')
  process.once('exit', kill)
  const pid = child.pid ?? 0
  const url = `http://127.0.0.1:${httpPort}`
  const deadline = performance.now() + startMs
  while (!(await isHealthy(url))) {
    if (child.exitCode !== null || performance.now() > deadline) {
      await endProcess(child)
      throw new BenchError(
        `${folder} did not start; its log ends with:\n${(await readFile(logFile, 'utf8')).slice(-2000)}`,
      )
    }
    await sleep(50)
  }
  return {
    url,
    httpPort,
    mqttPort,
    pid,
    cpu: () => processTreeCpu(pid),
    async end() {
      await endProcess(child)
      process.off('exit', kill)
    },
  }
}
