/** Starts servers in their own processes, so that they share only sockets with the load generator. */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { root } from '../lib/root.ts'
import packageJson from '../package.json' with { type: 'json' }
import { BenchError } from './measure.ts'

/** The tasks of a server for the process that started it. */
export interface Role<Facts> {
  /** Its ports and other facts for the load generator. */
  readonly facts: Facts
  /** Answers questions other than `cpu`, `rss` and `heap`. */
  ask?(question: string, argument: number): Promise<unknown>
  end?(): Promise<void>
}

/** Facts of a server with one port. */
export interface PortFacts {
  readonly port: number
}

export interface Server<Facts> {
  readonly facts: Facts
  ask(question: string, argument?: number): Promise<unknown>
  /** CPU used so far, µs. */
  cpu(): Promise<number>
  /** Resident memory, bytes. */
  rss(): Promise<number>
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

/** Memory options of V8 that `npm start` uses. Every measured server gets the same. */
const asStarted = packageJson.scripts.start.split(' ').filter((word) => word.startsWith('--max-'))

/** The launcher that runs TypeScript. */
const launcher = fileURLToPath(new URL('scripts/run.mjs', root))

/** Milliseconds. The server promises to end within 5 s. */
const endMs = 8000

/**
 * Starts a server and waits until it is ready.
 * @param file in `servers/`.
 * @param stderr the file descriptor of its standard error.
 * @throws {BenchError} when it does not start.
 */
export async function startServer<Facts>(
  file: string,
  { args = [], stderr = 2 }: { args?: readonly string[]; stderr?: number } = {},
): Promise<Server<Facts>> {
  const execArgv = [...process.execArgv, ...asStarted]
  const child: ChildProcess = fork(launcher, [`benchmarks/servers/${file}`, ...args], {
    execArgv,
    stdio: ['ignore', 2, stderr, 'ipc'],
  })
  // The servers end with this process.
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
    rss: async () => (await ask('rss')) as number,
    async end() {
      if (child.connected) child.disconnect()
      const late = setTimeout(kill, endMs)
      await exit
      clearTimeout(late)
    },
  }
}

/** Bytes of the main thread's heap that are in use after a collection. */
const heapAfterCollection = (): number => {
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
  return process.memoryUsage().heapUsed
}

/** Runs a server until the process that started it disconnects. */
export function serve(start: () => Promise<Role<unknown>>): void {
  const sendMessage = (message: Message) => process.send?.(message)
  // Ctrl-C reaches every process of the terminal, but only the parent decides about the end.
  process.on('SIGINT', () => undefined)
  process.on('SIGTERM', () => undefined)
  const parentGone = new Promise((resolve) => process.once('disconnect', resolve))
  const run = async () => {
    const role = await start()
    const answer = (question: string, argument: number) => {
      const { user, system } = process.cpuUsage()
      if (question === 'cpu') return user + system
      if (question === 'rss') return process.memoryUsage.rss()
      return question === 'heap' ? heapAfterCollection() : role.ask?.(question, argument)
    }
    process.on('message', async ({ id, question, argument }: Question) =>
      sendMessage({ kind: 'answer', id, value: await answer(question, argument) }),
    )
    sendMessage({ kind: 'ready', facts: role.facts })
    await parentGone
    await role.end?.()
  }
  run().then(
    () => process.exit(0),
    (error: unknown) => {
      sendMessage({ kind: 'failed', message: error instanceof Error ? error.message : String(error) })
      process.exit(1)
    },
  )
}
