/**
 * Runs a deployed function as Lambda does: each container is a process that asks the Runtime API for its events. It handles one event at
 * a time and stands still in between; when all are busy, another one starts.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'

/** A function as Lambda knows it after a deployment. */
export interface DeployedFunction {
  readonly name: string
  readonly arn: string
  /** Folder with the contents of its zip. */
  readonly folder: string
  /** `<file without its ending>.<export>`, from the folder. */
  readonly handler: string
  readonly memoryMb: number
  readonly timeoutS: number
  readonly environment: Readonly<Record<string, string>>
}

/** The function threw, ended, or took too long. */
export class FunctionError extends Error {
  /** `Runtime.ExitError`, `Sandbox.Timedout`, or the name of what the function threw. */
  override readonly name: string
  constructor(name: string, message: string) {
    super(message)
    this.name = name
  }
}

interface Invocation {
  readonly id: string
  readonly event: unknown
  readonly resolve: (answer: unknown) => void
  readonly reject: (error: FunctionError) => void
}

/** Lambda refuses larger answers, bytes. */
const maxAnswerBytes = 6 * 1024 * 1024
/** Time for the start of a container, ms: far more than Lambda allows, because the machines of tests are slow. */
const initMs = 60_000
/** Factor by which the time-outs of functions are longer here, for the same reason. */
const slowness = 6

const bodyOf = async (request: IncomingMessage): Promise<Buffer> => {
  const chunks: Buffer[] = []
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks)
}

class Container {
  readonly #of: DeployedFunction
  readonly #server: Server
  #child: ChildProcess | undefined
  #asking: ServerResponse | undefined
  #loaded: (() => void) | undefined
  #current: Invocation | undefined
  #timer: NodeJS.Timeout | undefined
  /** What the process has written. */
  output = ''
  /** Its process has ended, or is about to. */
  ended = false

  private constructor(of: DeployedFunction) {
    this.#of = of
    this.#server = createServer((request, response) => void this.#serve(request, response))
  }

  static async start(of: DeployedFunction): Promise<Container> {
    const container = new Container(of)
    await new Promise<void>((resolve) => container.#server.listen(0, '127.0.0.1', resolve))
    container.#spawn()
    return container
  }

  /** Resolves when the process has loaded its code. @throws {FunctionError} when it could not. */
  load(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#loaded = resolve
      this.run({ id: 'none', event: undefined, resolve: () => undefined, reject })
    })
  }

  get busy(): boolean {
    return this.#current !== undefined
  }

  run(invocation: Invocation): void {
    this.#current = invocation
    // Before its first event a container has to start.
    const ms = this.#asking === undefined ? initMs : this.#of.timeoutS * 1000 * slowness
    this.#timer = setTimeout(
      () =>
        this.#fail('Sandbox.Timedout', `Task timed out after ${this.#of.timeoutS} seconds:\n${this.output}`),
      ms,
    )
    this.#hand()
  }

  async end(): Promise<void> {
    this.ended = true
    clearTimeout(this.#timer)
    const child = this.#child
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      const exited = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGKILL')
      await exited
    }
    this.#server.closeAllConnections()
    this.#server.close()
  }

  #spawn(): void {
    const { handler, folder, name, memoryMb, environment } = this.#of
    const { port } = this.#server.address() as AddressInfo
    const child = spawn(
      process.execPath,
      [
        // Lambda leaves a tenth of the memory to what is not the heap.
        `--max-old-space-size=${Math.floor(memoryMb * 0.9)}`,
        fileURLToPath(new URL('./bootstrap.mjs', import.meta.url)),
      ],
      {
        cwd: folder,
        stdio: ['ignore', 'pipe', 'pipe'],
        env: {
          ...environment,
          TZ: ':UTC',
          _HANDLER: handler,
          LAMBDA_TASK_ROOT: folder,
          AWS_LAMBDA_RUNTIME_API: `127.0.0.1:${port}`,
          AWS_LAMBDA_FUNCTION_NAME: name,
          AWS_LAMBDA_FUNCTION_VERSION: '$LATEST',
          AWS_LAMBDA_FUNCTION_MEMORY_SIZE: String(memoryMb),
        },
      },
    )
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (chunk) => {
        this.output += chunk
      })
    child.once('exit', (code, signal) => {
      this.ended = true
      this.#settle(({ reject }) =>
        reject(new FunctionError('Runtime.ExitError', `exit ${code ?? signal}:\n${this.output}`)),
      )
    })
    this.#child = child
  }

  /** Gives the event to the process once it has asked for one; without an event the process stands still. */
  #hand(): void {
    const [asking, current] = [this.#asking, this.#current]
    if (asking === undefined) return
    if (this.#loaded !== undefined) {
      this.#loaded()
      this.#loaded = undefined
      this.#settle(() => undefined)
      return
    }
    if (current === undefined) {
      this.#child?.kill('SIGSTOP')
      return
    }
    this.#asking = undefined
    this.#child?.kill('SIGCONT')
    asking.writeHead(200, {
      'Content-Type': 'application/json',
      'Lambda-Runtime-Aws-Request-Id': current.id,
      'Lambda-Runtime-Deadline-Ms': String(Date.now() + this.#of.timeoutS * 1000 * slowness),
      'Lambda-Runtime-Invoked-Function-Arn': this.#of.arn,
      'Lambda-Runtime-Trace-Id': 'Root=1-00000000-000000000000000000000000;Sampled=0',
    })
    asking.end(JSON.stringify(current.event))
  }

  #settle(how: (invocation: Invocation) => void): void {
    const current = this.#current
    this.#current = undefined
    clearTimeout(this.#timer)
    if (current !== undefined) how(current)
  }

  #fail(name: string, message: string): void {
    this.#settle(({ reject }) => reject(new FunctionError(name, message)))
    void this.end()
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? '').replace('/2018-06-01/runtime/', '')
    if (request.method === 'GET' && path === 'invocation/next') {
      this.#asking = response
      return this.#hand()
    }
    const body = await bodyOf(request)
    if (path === 'init/error') {
      response.writeHead(202).end()
      return this.#fail('Runtime.ImportModuleError', body.toString())
    }
    const [, id, what] = /^invocation\/([\w-]+)\/(response|error)$/.exec(path) ?? []
    if (id === undefined || id !== this.#current?.id) {
      response.writeHead(400).end()
      return
    }
    if (body.length > maxAnswerBytes) {
      response.writeHead(413).end()
      return this.#settle(({ reject }) =>
        reject(new FunctionError('Function.ResponseSizeTooLarge', `${body.length} bytes`)),
      )
    }
    response.writeHead(202).end()
    this.#settle(({ resolve, reject }) => {
      const answer = JSON.parse(body.toString()) as { errorType: string; errorMessage: string }
      if (what === 'response') resolve(answer)
      else reject(new FunctionError(answer.errorType, answer.errorMessage))
    })
  }
}

/** The containers of one function. */
export class LambdaHost {
  readonly #of: DeployedFunction
  readonly #containers: Container[] = []
  readonly #maxContainers: number
  readonly #waiting: Invocation[] = []
  #starting = 0

  /** @param maxContainers how many events are handled at once; more of them wait. */
  constructor(of: DeployedFunction, maxContainers = 3) {
    this.#of = of
    this.#maxContainers = maxContainers
  }

  /** Starts a container, which only loads its code. @throws {FunctionError} when it cannot be loaded. */
  async start(): Promise<void> {
    const container = await Container.start(this.#of)
    this.#containers.push(container)
    await container.load()
  }

  /** @throws {FunctionError} */
  async invoke(event: unknown): Promise<unknown> {
    try {
      return await new Promise((resolve, reject) => {
        this.#waiting.push({ id: randomUUID(), event, resolve, reject })
        this.#next()
      })
    } finally {
      this.#next()
    }
  }

  /** What all containers have written. */
  get output(): string {
    return this.#containers.map(({ output }) => output).join('')
  }

  async close(): Promise<void> {
    await Promise.all(this.#containers.map((container) => container.end()))
  }

  #next(): void {
    const alive = this.#containers.filter(({ ended }) => !ended)
    const free = alive.find(({ busy }) => !busy)
    if (this.#waiting.length === 0) return
    if (free !== undefined) {
      const invocation = this.#waiting.shift()
      if (invocation !== undefined) free.run(invocation)
      this.#next()
      return
    }
    if (alive.length + this.#starting >= this.#maxContainers) return
    this.#starting += 1
    void Container.start(this.#of).then((container) => {
      this.#starting -= 1
      this.#containers.push(container)
      this.#next()
    })
  }
}
