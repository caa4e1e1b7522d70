/** A container of Lambda as a thread: it loads the bundle of a function, then handles one event after the other. */
import { Worker } from 'node:worker_threads'
import type { SQSBatchResponse, SQSEvent } from 'aws-lambda'

/** The log writes to a file descriptor, which a thread shares with its process: here it goes to the process as messages. */
const containerCode = `
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { setImmediate } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
fs.writeSync = (_, lines) => parentPort.postMessage({ lines })
syncBuiltinESMExports()
process.setSourceMapsEnabled(true)
const { handler } = await import(workerData)
parentPort.postMessage({ ready: true })
const context = { invokedFunctionArn: 'arn:aws:lambda:eu-central-1:123456789012:function:queue' }
const answerTo = async (event) => {
  try {
    return { answer: await handler(event, context) }
  } catch (error) {
    return { error: String(error?.message) }
  }
}
parentPort.on('message', async (event) => {
  const answer = await answerTo(event)
  // The log writes its lines in the next turn: they come before the answer, after which the thread may be ended.
  await setImmediate()
  parentPort.postMessage(answer)
})`

/** How a call ended: with an answer, or with the message of an error. */
export interface Answer {
  readonly answer?: SQSBatchResponse
  readonly error?: string
}

type Message = Answer & { readonly ready?: true; readonly lines?: string }

export class Container {
  readonly #worker: Worker
  #answered: (answer: Answer) => void = () => undefined

  private constructor(worker: Worker) {
    this.#worker = worker
  }

  /**
   * @param bundle URL of the file.
   * @param onLog gets whole lines of the function's log.
   */
  static async start(
    bundle: string,
    environment: Readonly<Record<string, string>>,
    onLog: (lines: string) => void,
  ): Promise<Container> {
    const code = `data:text/javascript,${encodeURIComponent(containerCode)}`
    const options = { workerData: bundle, env: { ...environment }, execArgv: [], stdout: true }
    const worker = new Worker(new URL(code), options)
    // The function prints its metrics there.
    worker.stdout.resume()
    const container = new Container(worker)
    await new Promise<void>((resolve, reject) => {
      worker.once('error', reject).on('message', ({ ready, lines, ...answer }: Message) => {
        if (lines !== undefined) onLog(lines)
        else if (ready) resolve()
        else container.#answered(answer)
      })
    })
    return container
  }

  /** Hands over an event; the next one has to wait for the answer. */
  call(event: SQSEvent): Promise<Answer> {
    return new Promise((resolve) => {
      this.#answered = resolve
      this.#worker.postMessage(event)
    })
  }

  end(): Promise<unknown> {
    return this.#worker.terminate()
  }
}
