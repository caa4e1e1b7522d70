/** Starts a real libSQL server as a process on a free port of loopback. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants } from 'node:fs'
import { describeWith } from './backends.ts'
import { freePort } from './free-port.ts'
import { temporaryFolder } from './temporary.ts'
import { until } from './waiting.ts'

export interface Sqld {
  /** URL; it stays the same after a restart. */
  readonly url: string
  start(): Promise<void>
  /** Stops it, so that it accepts requests but answers none, until `goOn`. */
  hang(): void
  goOn(): void
  /** Kills it, as a crash would; its files stay. */
  kill(): Promise<void>
  /** Stops it and removes its files. */
  stop(): Promise<void>
}

/** Path of the program: `SQLD`, or `sqld` on the PATH; undefined when it is not installed. */
export function findSqld(): string | undefined {
  const candidates = [
    process.env.SQLD,
    ...(process.env.PATH ?? '').split(':').map((folder) => `${folder}/sqld`),
  ]
  return candidates.find((file) => {
    try {
      if (!file) return false
      accessSync(file, constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

/** A `describe` for tests that need sqld. */
export const describeWithSqld = (name: string, body: () => void) =>
  describeWith({ sqld: findSqld() !== undefined }, name, body)

/** @throws {Error} with its output when it does not start. */
export async function startSqld(): Promise<Sqld> {
  const binary = findSqld()
  if (binary === undefined) throw new Error('sqld is not installed')
  const folder = await temporaryFolder()
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const answers = () =>
    fetch(`${url}/health`).then(
      ({ ok }) => ok,
      () => false,
    )
  let child: ChildProcess | undefined
  const killNow = () => child?.kill('SIGKILL')
  process.once('exit', killNow)

  const sqld: Sqld = {
    url,
    async start() {
      const started = spawn(
        binary,
        ['--http-listen-addr', `127.0.0.1:${port}`, '--db-path', `${folder.path}/data.sqld`, '--no-welcome'],
        { cwd: folder.path, stdio: ['ignore', 'pipe', 'pipe'] },
      )
      child = started
      let said = ''
      for (const stream of [started.stdout, started.stderr])
        stream.on('data', (chunk) => {
          said += chunk
        })
      await until(async () => started.exitCode !== null || (await answers()), 'sqld answers').catch(() =>
        started.kill('SIGKILL'),
      )
      if (started.exitCode !== null || started.killed) throw new Error(`sqld did not start:\n${said}`)
    },
    hang: () => void child?.kill('SIGSTOP'),
    goOn: () => void child?.kill('SIGCONT'),
    async kill() {
      const running = child
      child = undefined
      if (running === undefined || running.exitCode !== null || running.signalCode !== null) return
      running.kill('SIGKILL')
      await once(running, 'exit')
    },
    async stop() {
      process.off('exit', killNow)
      await sqld.kill()
      await folder.remove()
    },
  }
  await sqld.start()
  return sqld
}
