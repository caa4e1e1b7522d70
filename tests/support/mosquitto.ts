/** Starts a real Mosquitto for one test, configured as by `npm run mqtt:setup`, on free ports and with a temporary folder. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { type MosquittoFiles, writeMosquittoFiles } from '../../local/mqtt/mosquitto/files.ts'
import { freePort } from './free-port.ts'
import { temporaryFolder } from './temporary.ts'
import { until } from './waiting.ts'

/** The program; undefined where it is not installed. */
export const mosquittoProgram = ['mosquitto', '/usr/sbin/mosquitto'].find(
  (name) => spawnSync(name, ['-h'], { stdio: 'ignore' }).error === undefined,
)
const plugin = readdirSync('/usr/lib')
  .map((folder) => `/usr/lib/${folder}/mosquitto_dynamic_security.so`)
  .find((file) => existsSync(file))

/** How long the server's own client waits for an answer: the disk of a busy machine takes seconds to save an account, ms. */
export const answerMs = 20_000

export const hasMosquitto = mosquittoProgram !== undefined && plugin !== undefined

export interface MosquittoServer {
  /** The address for devices. */
  readonly url: string
  readonly wsUrl: string
  /** The address for the server, with its account. */
  readonly serverLogin: { readonly url: string; readonly username: string; readonly password: string }
  start(): Promise<void>
  /** Kills it, as a crash would. */
  kill(): Promise<void>
  /** Stops it, so that it accepts packets but answers none, until `goOn`. */
  hang(): void
  goOn(): void
  said(): string
  end(): Promise<void>
}

const isOpen = (port: number) =>
  new Promise<boolean>((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })

/** Waits until something listens on the port. */
export const opens = (port: number) => until(() => isOpen(port), 'mosquitto listens', 25)

export async function startMosquitto(options: Partial<MosquittoFiles> = {}): Promise<MosquittoServer> {
  if (mosquittoProgram === undefined || plugin === undefined) throw new Error('there is no mosquitto')
  const folder = await temporaryFolder()
  const [port, websocketPort, internalPort] = await Promise.all([freePort(), freePort(), freePort()])
  const serverLogin = { username: 'iotflow', password: 'password-of-the-server' }
  const files = {
    folder: join(folder.path, 'mosquitto'),
    plugin,
    address: '127.0.0.1',
    saving: 'fast',
  } as const
  const configuration = await writeMosquittoFiles({
    ...files,
    ...serverLogin,
    port,
    websocketPort,
    internalPort,
    ...options,
  })
  let child: ChildProcess | undefined
  let said = ''
  const killNow = () => child?.kill('SIGKILL')
  process.once('exit', killNow)
  const server: MosquittoServer = {
    url: `mqtt://127.0.0.1:${port}`,
    wsUrl: `ws://127.0.0.1:${websocketPort}`,
    serverLogin: { url: `mqtt://127.0.0.1:${internalPort}`, ...serverLogin },
    said: () => said,
    async start() {
      const started = spawn(mosquittoProgram, ['-c', configuration], { stdio: ['ignore', 'pipe', 'pipe'] })
      child = started
      for (const stream of [started.stdout, started.stderr])
        stream.on('data', (chunk) => {
          said += chunk
        })
      await until(
        async () => started.exitCode !== null || (await isOpen(internalPort)),
        'mosquitto listens',
        25,
      )
      if (started.exitCode !== null) throw new Error(`mosquitto did not start:\n${said}`)
    },
    async kill() {
      const running = child
      child = undefined
      if (running === undefined || running.exitCode !== null || running.signalCode !== null) return
      running.kill('SIGKILL')
      await once(running, 'exit')
    },
    hang: () => void child?.kill('SIGSTOP'),
    goOn: () => void child?.kill('SIGCONT'),
    async end() {
      process.off('exit', killNow)
      await server.kill()
      await folder.remove()
    },
  }
  await server.start()
  return server
}
