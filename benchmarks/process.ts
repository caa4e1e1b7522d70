/** Servers in processes of their own: one that measures and the measured share nothing but sockets. */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import packageJson from '../package.json' with { type: 'json' }
import { BenchError } from './measure.ts'

/** What a server does for the process that started it. */
export interface Role<Facts> {
  /** Where it listens, and whatever else is to be known. */
  readonly facts: Facts
  /** Answers questions other than the one for the CPU. */
  ask?(question: string, argument: number): Promise<unknown>
  end?(): Promise<void>
}

/** Of a server with one port. */
export interface PortFacts {
  readonly port: number
}

export interface Server<Facts> {
  readonly facts: Facts
  ask(question: string, argument?: number): Promise<unknown>
  /** CPU used so far, µs. */
  cpu(): Promise<number>
  end(): Promise<void>
}

type Message =
  | { kind: 'ready'; facts: unknown }
  | { kind: 'failed'; message: string }
  | { kind: 'answer'; id: number; value: unknown }

interface Question {
  readonly id: number
  readonly question: string
  readonly argument: number
}

/** Options of V8 with which `npm start` runs the layer; the floors get the same. */
const asStarted = packageJson.scripts.start.split(' ').filter((word) => word.startsWith('--max-'))

/** The layer promises to end within 5 s. */
const endMs = 8000

/**
 * Starts a server and waits until it is ready.
 * @param file in `servers/`.
 * @param stderr a descriptor for what it writes to standard error.
 * @throws {BenchError} when it does not start.
 */
export async function startServer<Facts>(
  file: string,
  { args = [], stderr = 2 }: { args?: readonly string[]; stderr?: number } = {},
): Promise<Server<Facts>> {
  const path = fileURLToPath(new URL(`./servers/${file}`, import.meta.url))
  const execArgv = [...process.execArgv, ...asStarted]
  const child: ChildProcess = fork(path, args, { execArgv, stdio: ['ignore', 2, stderr, 'ipc'] })
  // Whatever ends this process ends its servers.
  const kill = () => child.kill('SIGKILL')
  process.prependListener('exit', kill)
  const waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>()
  let lastId = 0
  let ended = false
  const exit = new Promise<void>((resolve) => {
    child.once('exit', (code, signal) => {
      ended = true
      process.off('exit', kill)
      for (const { reject } of waiting.values()) reject(new BenchError(`${file} ended (${code ?? signal})`))
      resolve()
    })
  })
  const facts = await new Promise<Facts>((resolve, reject) => {
    child.on('message', (message: Message) => {
      if (message.kind === 'ready') resolve(message.facts as Facts)
      else if (message.kind === 'failed') reject(new BenchError(`${file}: ${message.message}`))
      else {
        waiting.get(message.id)?.resolve(message.value)
        waiting.delete(message.id)
      }
    })
    void exit.then(() => reject(new BenchError(`${file} ended at its start`)))
  })
  const ask = (question: string, argument = 0): Promise<unknown> =>
    new Promise((resolve, reject) => {
      if (ended) {
        reject(new BenchError(`${file} has ended`))
        return
      }
      lastId += 1
      waiting.set(lastId, { resolve, reject })
      child.send({ id: lastId, question, argument } satisfies Question)
    })
  return {
    facts,
    ask,
    cpu: async () => (await ask('cpu')) as number,
    async end() {
      if (child.connected) child.disconnect()
      const late = setTimeout(kill, endMs)
      await exit
      clearTimeout(late)
    },
  }
}

/** The other side: runs a server until the process that started it lets go of it. */
export function serve(start: () => Promise<Role<unknown>>): void {
  const tell = (message: Message) => process.send?.(message)
  // Ctrl-C reaches every process of the terminal; the parent says when it is over.
  process.on('SIGINT', () => undefined)
  process.on('SIGTERM', () => undefined)
  const parentGone = new Promise((resolve) => process.once('disconnect', resolve))
  const run = async () => {
    const role = await start()
    process.on('message', async ({ id, question, argument }: Question) => {
      const { user, system } = process.cpuUsage()
      tell({
        kind: 'answer',
        id,
        value: question === 'cpu' ? user + system : await role.ask?.(question, argument),
      })
    })
    tell({ kind: 'ready', facts: role.facts })
    await parentGone
    await role.end?.()
  }
  run().then(
    () => process.exit(0),
    (error: unknown) => {
      tell({ kind: 'failed', message: error instanceof Error ? error.message : String(error) })
      process.exit(1)
    },
  )
}
