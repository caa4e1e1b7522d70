/** Starts an SQS for one test: the moto server, which speaks the SQS protocol. */
import { spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { type AwsAccess, createAwsCall } from '../../lib/lambda/aws.ts'
import { freePort } from './free-port.ts'
import { patienceMs, until } from './waiting.ts'

export interface SqsMessage {
  readonly MessageId: string
  readonly ReceiptHandle: string
  readonly Body: string
}

export interface Sqs {
  /** The address of a queue, with credentials. */
  readonly queue: AwsAccess & { readonly url: string }
  /** Receives up to ten messages. They are invisible to others for `visibilityS` seconds. */
  receive(visibilityS?: number): Promise<SqsMessage[]>
  delete(message: SqsMessage): Promise<void>
  /** Stops the server. */
  stop(): Promise<void>
}

/** Path of the program: `MOTO_SERVER`, or `moto_server` on the PATH; undefined when it is not installed. */
export function findMoto(): string | undefined {
  const candidates = [
    process.env.MOTO_SERVER,
    ...(process.env.PATH ?? '').split(':').map((folder) => `${folder}/moto_server`),
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

const access: AwsAccess = {
  region: 'eu-central-1',
  accessKeyId: 'test',
  secretAccessKey: 'test',
  sessionToken: undefined,
}

/** @throws {Error} with its output when it does not start. */
export async function startSqs(): Promise<Sqs> {
  const binary = findMoto()
  if (binary === undefined) throw new Error('moto_server is not installed')
  const port = await freePort()
  const child = spawn(binary, ['-H', '127.0.0.1', '-p', String(port)], { stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk) => {
      said += chunk
    })
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const endpoint = `http://127.0.0.1:${port}/`
  const call = createAwsCall(access, { service: 'sqs', endpoint, protocol: '1.0', timeoutMs: patienceMs })
  const answers = () => fetch(endpoint).then(Boolean, () => false)
  await until(async () => (await answers()) || child.exitCode !== null, 'an answer', 50).catch(() =>
    child.kill('SIGKILL'),
  )
  if (child.exitCode !== null || child.killed) throw new Error(`moto_server did not start:\n${said}`)
  const { QueueUrl: url } = await call<{ QueueUrl: string }>('AmazonSQS.CreateQueue', { QueueName: 'spool' })
  return {
    queue: { url, ...access },
    async receive(visibilityS = 30) {
      const { Messages = [] } = await call<{ Messages?: SqsMessage[] }>('AmazonSQS.ReceiveMessage', {
        QueueUrl: url,
        MaxNumberOfMessages: 10,
        VisibilityTimeout: visibilityS,
      })
      return Messages
    },
    async delete({ ReceiptHandle }) {
      await call('AmazonSQS.DeleteMessage', { QueueUrl: url, ReceiptHandle })
    },
    async stop() {
      child.kill('SIGKILL')
      await exited
    },
  }
}
