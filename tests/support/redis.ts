/** A redis-server of the test's own: a child process that listens on a Unix socket in a folder of its own. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { describeWith } from './backends.ts'
import { freePort } from './free-port.ts'
import { temporaryFolder } from './temporary.ts'

const binary = ['redis-server', 'valkey-server'].find(
  (name) => spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0,
)

/** A `describe` for what needs Redis. */
export const describeWithRedis = (name: string, body: () => void) =>
  describeWith({ redis: binary !== undefined }, name, body)

export interface RedisServer {
  /** Path of the Unix socket, the same after a restart. */
  readonly socket: string
  /** Over TCP, with the password; the same after a restart. */
  readonly url: string
  start(): Promise<void>
  /** Takes requests and does not answer them, until it goes on. */
  hang(): void
  goOn(): void
  /** Ends the server as a crash does; nothing it held survives. */
  kill(): Promise<void>
  /** Ends the server and removes its folder. */
  end(): Promise<void>
}

/** @param password asked of every client, if any. */
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
      const late = setTimeout(() => started.kill('SIGKILL'), 10_000)
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
      if (running === undefined || running.exitCode !== null) return
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
