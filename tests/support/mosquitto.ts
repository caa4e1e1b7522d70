/** A real Mosquitto of the test's own, as `local/mosquitto` configures it: a process on free ports, in a folder of its own. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type MosquittoFiles, writeMosquittoFiles } from '../../local/mosquitto-files.ts'
import { freePort } from './free-port.ts'
import { temporaryFolder } from './temporary.ts'

const binary = ['mosquitto', '/usr/sbin/mosquitto'].find(
  (name) => spawnSync(name, ['-h'], { stdio: 'ignore' }).error === undefined,
)
const plugin = readdirSync('/usr/lib')
  .map((folder) => `/usr/lib/${folder}/mosquitto_dynamic_security.so`)
  .find((file) => existsSync(file))

export const hasMosquitto = binary !== undefined && plugin !== undefined

export interface MosquittoServer {
  /** For devices. */
  readonly url: string
  readonly wsUrl: string
  /** For the layer, with its account. */
  readonly layer: { readonly url: string; readonly username: string; readonly password: string }
  start(): Promise<void>
  /** Ends it as a crash does. */
  kill(): Promise<void>
  /** Takes packets and does not answer them, until it goes on. */
  hang(): void
  goOn(): void
  said(): string
  end(): Promise<void>
}

const opens = async (port: number) => {
  for (let tries = 0; tries < 200; tries += 1) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.destroy()
        resolve(true)
      })
      socket.on('error', () => resolve(false))
    })
    if (open) return
    await sleep(25)
  }
  throw new Error('mosquitto did not start')
}

export async function startMosquitto(options: Partial<MosquittoFiles> = {}): Promise<MosquittoServer> {
  if (binary === undefined || plugin === undefined) throw new Error('there is no mosquitto')
  const folder = await temporaryFolder()
  const [port, websocketPort, internalPort] = await Promise.all([freePort(), freePort(), freePort()])
  const layer = { username: 'iotflow', password: 'password-of-the-layer' }
  const files = {
    folder: join(folder.path, 'mosquitto'),
    plugin,
    address: '127.0.0.1',
    crash: 'fast',
  } as const
  const configuration = await writeMosquittoFiles({
    ...files,
    ...layer,
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
    layer: { url: `mqtt://127.0.0.1:${internalPort}`, ...layer },
    said: () => said,
    async start() {
      const started = spawn(binary, ['-c', configuration], { stdio: ['ignore', 'pipe', 'pipe'] })
      child = started
      for (const stream of [started.stdout, started.stderr])
        stream.on('data', (chunk) => {
          said += chunk
        })
      await opens(internalPort).catch((error: Error) => {
        throw new Error(`${error.message}:\n${said}`)
      })
    },
    async kill() {
      const running = child
      child = undefined
      if (running === undefined || running.exitCode !== null) return
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
