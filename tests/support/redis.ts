/** A redis-server of the test's own: a child process that listens on a Unix socket in a folder of its own. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { describeWith } from './backends.ts'
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
  start(): Promise<void>
  /** Ends the server as a crash does; nothing it held survives. */
  kill(): Promise<void>
  /** Ends the server and removes its folder. */
  end(): Promise<void>
}

export async function startRedis(): Promise<RedisServer> {
  if (binary === undefined) throw new Error('there is no redis-server')
  const folder = await temporaryFolder()
  const socket = join(folder.path, 'redis.sock')
  let child: ChildProcess | undefined
  const killNow = () => child?.kill('SIGKILL')
  process.once('exit', killNow)

  const server: RedisServer = {
    socket,
    async start() {
      const args = ['--port', '0', '--unixsocket', socket, '--dir', folder.path, '--save', '']
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
