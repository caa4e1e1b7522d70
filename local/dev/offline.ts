/** serverless-offline as a child process: API Gateway and Lambda emulated, with the functions of dist/local. */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import pRetry from 'p-retry'
import pTimeout from 'p-timeout'
import { root } from '../../lib/root.ts'
import { listenFault } from '../http.ts'

/** Loopback only: a caller of the Lambda API of serverless-offline may invoke any function, as any device and without a key. */
export const host = '127.0.0.1'
export const stage = 'local'
const service = 'iotflow'
const startMs = 60_000
const stopMs = 3000

const listenOnce = (port: number): Promise<void> =>
  new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(port, host, () => server.close(() => resolve()))
  })

/**
 * Finds a port that serverless-offline can listen on.
 * @param wanted 0 chooses one below 32,000: operating systems give higher ones to outgoing connections, which could take it
 * before serverless-offline does.
 * @param setting the name of the setting, for the error.
 * @throws {Error} one sentence when the port is taken.
 */
export const freePort = async (wanted: number, setting: string): Promise<number> => {
  const retries = wanted === 0 ? 20 : 0
  return pRetry(
    async () => {
      const port = wanted === 0 ? randomInt(20_000, 32_000) : wanted
      await listenOnce(port).catch((error: NodeJS.ErrnoException) => {
        throw new Error(listenFault(error, setting, port, host))
      })
      return port
    },
    { retries, minTimeout: 0 },
  )
}

/** The Lambda API of serverless-offline. */
export interface Lambda {
  /** @throws {Error} when the function has failed. */
  invoke(functionName: string, event: unknown): Promise<unknown>
}

export const lambdaAt = (port: number): Lambda => ({
  async invoke(functionName, event) {
    const name = `${service}-${stage}-${functionName}`
    const response = await fetch(`http://${host}:${port}/2015-03-31/functions/${name}/invocations`, {
      method: 'POST',
      headers: { 'X-Amz-Invocation-Type': 'RequestResponse' },
      body: JSON.stringify(event),
      signal: AbortSignal.timeout(30_000),
    })
    const text = await response.text()
    const failed = response.headers.get('x-amz-function-error') !== null
    if (!response.ok || failed) throw new Error(`function ${functionName} failed`)
    return text === '' ? undefined : (JSON.parse(text) as unknown)
  },
})

/** Invokes a function for an event of a rule: like AWS, it tries a function that fails twice again. */
export const invokeWithRetries =
  (lambda: Lambda) =>
  async (functionName: string, event: Record<string, unknown>): Promise<void> => {
    await pRetry(() => lambda.invoke(functionName, event), { retries: 2, minTimeout: 500, factor: 4 })
  }

export interface OfflineOptions {
  readonly httpPort: number
  readonly lambdaPort: number
  /** Settings beside the environment of this process. */
  readonly environment: Readonly<Record<string, string>>
}

/** One run of serverless-offline. */
export class Offline {
  readonly #child: ChildProcess
  readonly #exited: Promise<void>
  #stopping = false

  constructor({ httpPort, lambdaPort, environment }: OfflineOptions) {
    this.#child = spawn(
      process.execPath,
      [
        ...['--import', './local/dev/offline-requests.mjs'],
        'node_modules/serverless/bin/serverless.js',
        'offline',
        ...['--stage', stage, '--param', 'dist=dist/local', '--host', host],
        ...['--httpPort', String(httpPort), '--lambdaPort', String(lambdaPort), '--websocketPort', '0'],
        // The functions read no cookies: one that cannot be parsed must not stop a request.
        '--disableCookieValidation',
        ...['--noPrependStageInUrl', '--localEnvironment', '--noTimeout', '--noSponsor'],
        // No page in a browser may read the Lambda API; serverless.yml sets CORS of the HTTP API.
        ...['--corsAllowOrigin', 'none'],
        ...['--terminateIdleLambdaTime', '86400'],
      ],
      {
        cwd: fileURLToPath(root),
        // A process group of its own: Ctrl-C must not end it before the broker has ended.
        detached: true,
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { ...process.env, ...environment },
      },
    )
    this.#exited = new Promise((resolve) => this.#child.once('exit', () => resolve()))
  }

  /**
   * Resolves when it serves. Its output is hidden until then, and goes to standard error afterwards.
   * @throws {Error} one sentence when it ends, or does not serve in time.
   */
  async ready(): Promise<void> {
    let output = ''
    let serves = false
    const served = new Promise<void>((resolve) => {
      const read = (chunk: Buffer) => {
        if (serves) {
          process.stderr.write(chunk)
          return
        }
        output += chunk
        if (!/Server ready: http/.test(output)) return
        serves = true
        resolve()
      }
      this.#child.stdout?.on('data', read)
      this.#child.stderr?.on('data', read)
    })
    const ended = this.#exited.then(() => {
      if (this.#stopping || serves) return
      process.stderr.write(output)
      throw new Error('serverless-offline has ended.')
    })
    await pTimeout(Promise.race([served, ended]), {
      milliseconds: startMs,
      message: new Error('serverless-offline did not start in time.'),
    })
  }

  /** Resolves to true when it has ended without {@link stop}. */
  async died(): Promise<boolean> {
    await this.#exited
    return !this.#stopping
  }

  async stop(): Promise<void> {
    this.#stopping = true
    this.#signal('SIGTERM')
    await pTimeout(this.#exited, { milliseconds: stopMs, fallback: () => undefined })
    this.#signal('SIGKILL')
    await this.#exited
  }

  /** Sends a signal to the whole process group. */
  #signal(name: NodeJS.Signals): void {
    try {
      process.kill(-(this.#child.pid ?? 0), name)
    } catch {
      // The group has ended already.
    }
  }
}
