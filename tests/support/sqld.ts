/** A real libSQL server in a process of its own, on a free port of loopback. */
import { spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { describeWith } from './backends.ts'
import { freePort } from './free-port.ts'
import { temporaryFolder } from './temporary.ts'

export interface Sqld {
  readonly url: string
  stop(): Promise<void>
}

/** Its binary: `SQLD`, or `sqld` on the PATH; undefined when there is none. */
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

/** A `describe` for what needs sqld. */
export const describeWithSqld = (name: string, body: () => void) =>
  describeWith({ sqld: findSqld() !== undefined }, name, body)

/** @throws {Error} with what it said when it does not start. */
export async function startSqld(): Promise<Sqld> {
  const binary = findSqld()
  if (binary === undefined) throw new Error('sqld is not installed')
  const folder = await temporaryFolder()
  const port = await freePort()
  const child = spawn(
    binary,
    ['--http-listen-addr', `127.0.0.1:${port}`, '--db-path', `${folder.path}/data.sqld`, '--no-welcome'],
    { cwd: folder.path, stdio: ['ignore', 'pipe', 'pipe'] },
  )
  let said = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk) => {
      said += chunk
    })
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const url = `http://127.0.0.1:${port}`
  const answers = () =>
    fetch(`${url}/health`).then(
      ({ ok }) => ok,
      () => false,
    )
  for (let tries = 0; !(await answers()); tries += 1) {
    if (tries > 200 || child.exitCode !== null) {
      child.kill('SIGKILL')
      throw new Error(`sqld did not start:\n${said}`)
    }
    await sleep(50)
  }
  return {
    url,
    async stop() {
      child.kill('SIGKILL')
      await exited
      await folder.remove()
    },
  }
}
