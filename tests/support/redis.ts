/** Starts a redis-server for one test: a child process that listens on a Unix socket in a temporary folder. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { describeWith } from './backends.ts'
import { freePort } from './free-port.ts'
import { temporaryFolder } from './temporary.ts'
import { patienceMs } from './waiting.ts'

const binary = ['redis-server', 'valkey-server'].find(
  (name) => spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0,
)

/** A `describe` for tests that need Redis. */
export const describeWithRedis = (name: string, body: () => void) =>
  describeWith({ redis: binary !== undefined }, name, body)

export interface RedisServer {
  /** Path of the Unix socket; it stays the same after a restart. */
  readonly socket: string
  /** TCP address with the password; it stays the same after a restart. */
  readonly url: string
  start(): Promise<void>
  /** Stops it, so that it accepts requests but answers none, until `goOn`. */
  hang(): void
  goOn(): void
  /** Kills the server, as a crash would; it loses its data. */
  kill(): Promise<void>
  /** Stops the server and removes its folder. */
  end(): Promise<void>
}

/** @param password that every client has to send; undefined: none. */
export async function startRedis(password = ''): Promise<RedisServer> {
  if (binary === undefined) throw new Error('there is no redis-server')
  const folder = await temporaryFolder()
  const socket = join(folder.path, 'redis.sock')
  const port = await freePort()
  let child: ChildProcess | undefined
  const killNow = () => child?.kill('SIGKILL')
  process.once('exit', killNow)

  const server: RedisServer = {
    socket,
    url: `redis://${password && `:${password}@`}127.0.0.1:${port}`,
    hang: () => void child?.kill('SIGSTOP'),
    goOn: () => void child?.kill('SIGCONT'),
    async start() {
      const args = [
        ...['--port', String(port), '--bind', '127.0.0.1', '--unixsocket', socket],
        ...['--dir', folder.path, '--save', ''],
        ...(password === '' ? [] : ['--requirepass', password]),
      ]
      const started = spawn(binary, args, { stdio: ['ignore', 'pipe', 'inherit'] })
      child = started
      let said = ''
      const late = setTimeout(() => started.kill('SIGKILL'), patienceMs)
      await new Promise<void>((resolve, reject) => {
        started.stdout.on('data', (text) => {
          said += text
          if (/ready to accept connections/i.test(said)) resolve()
        })
        started.once('exit', () => reject(new Error(`redis-server ended: ${said}`)))
      }).finally(() => clearTimeout(late))
    },
    async kill() {
      const running = child
      child = undefined
      if (running === undefined || running.exitCode !== null || running.signalCode !== null) return
      running.kill('SIGKILL')
      await once(running, 'exit')
    },
    async end() {
      process.off('exit', killNow)
      await server.kill()
      await folder.remove()
    },
  }
  await server.start()
  return server
}
