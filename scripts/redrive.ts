/** `npm run redrive`: calls functions again with the events that they failed at, and that wait in the queue FailedEvents. */
import { AwsClient } from 'aws4fetch'
import { type AwsAccess, accessOf, createAwsCall } from '../lib/lambda/aws.ts'
import { parseOptions, runCommand, UsageError } from './command.ts'

const help = `Calls the functions of a deployed stage again with the events that they failed at: presence, configurations, commands.

  npm run redrive -- --stage <dev|staging|prod> [--region <region>]

An event that succeeds is deleted from the queue; one that fails stays there, for 14 days from its first failure. The program
ends when it has tried each event once. Credentials come from the environment: aws configure export-credentials --format env.
`

const timeoutMs = 30_000
/** So long a message is hidden from another run, seconds: longer than a function may take. */
const visibilityS = 120

interface Message {
  readonly MessageId: string
  readonly ReceiptHandle: string
  readonly Body: string
}

/** The parts of a message that Lambda has put into the queue. */
interface FailedEvent {
  readonly functionName: string
  readonly payload: unknown
}

/** @returns undefined when Lambda did not write the message for a function of this stage: the operator may call others, too. */
function failedEventOf(body: string, stage: string): FailedEvent | undefined {
  try {
    const { requestContext, requestPayload } = JSON.parse(body)
    const [, functionName] = /:function:([\w-]+)/.exec(requestContext.functionArn) ?? []
    return functionName?.startsWith(`iotflow-${stage}-`)
      ? { functionName, payload: requestPayload }
      : undefined
  } catch {
    return undefined
  }
}

const endpointOf = (service: string, { region }: AwsAccess, env: NodeJS.ProcessEnv) =>
  env[`AWS_ENDPOINT_URL_${service.toUpperCase()}`] ??
  env.AWS_ENDPOINT_URL ??
  `https://${service}.${region}.amazonaws.com`

/** @returns a function that resolves with true when the call of a function succeeded. @throws {Error} when Lambda refuses it. */
const createInvoke = (access: AwsAccess, endpoint: string) => {
  const client = new AwsClient({ ...access, sessionToken: access.sessionToken ?? '', service: 'lambda' })
  return async ({ functionName, payload }: FailedEvent): Promise<boolean> => {
    const path = `2015-03-31/functions/${functionName}/invocations`
    const response = await client.fetch(`${endpoint.replace(/\/$/, '')}/${path}`, {
      method: 'POST',
      body: JSON.stringify(payload),
      signal: AbortSignal.timeout(timeoutMs),
    })
    if (!response.ok) throw new Error(`${functionName} could not be called: status ${response.status}`)
    return !response.headers.has('X-Amz-Function-Error')
  }
}

export interface Redriven {
  readonly succeeded: number
  readonly failed: number
}

/**
 * Tries each event of the queues of a stage once, one after the other. Queues that an earlier stack has left belong to them.
 * @throws {Error} when AWS refuses a call.
 */
export async function redrive(stage: string, env: NodeJS.ProcessEnv): Promise<Redriven> {
  const access = accessOf(env)
  const endpoint = endpointOf('sqs', access, env)
  const sqs = createAwsCall(access, { service: 'sqs', endpoint, protocol: '1.0', timeoutMs })
  const invoke = createInvoke(access, endpointOf('lambda', access, env))
  const prefix = { QueueNamePrefix: `iotflow-${stage}-FailedEvents` }
  const { QueueUrls = [] } = await sqs<{ QueueUrls?: string[] }>('AmazonSQS.ListQueues', prefix)
  let [succeeded, failed] = [0, 0]
  for (const QueueUrl of QueueUrls) {
    const tried = new Set<string>()
    for (;;) {
      const { Messages = [] } = await sqs<{ Messages?: Message[] }>('AmazonSQS.ReceiveMessage', {
        QueueUrl,
        MaxNumberOfMessages: 10,
        WaitTimeSeconds: 1,
        VisibilityTimeout: visibilityS,
      })
      const fresh = Messages.filter(({ MessageId }) => !tried.has(MessageId))
      if (fresh.length === 0) break
      for (const { MessageId, ReceiptHandle, Body } of fresh) {
        tried.add(MessageId)
        const event = failedEventOf(Body, stage)
        if (event === undefined || !(await invoke(event))) {
          failed += 1
          continue
        }
        await sqs('AmazonSQS.DeleteMessage', { QueueUrl, ReceiptHandle })
        succeeded += 1
      }
    }
  }
  return { succeeded, failed }
}

export const main = () =>
  runCommand(async () => {
    const { values } = parseOptions({
      args: process.argv.slice(2),
      options: {
        stage: { type: 'string' },
        region: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    })
    if (values.help) {
      process.stdout.write(help)
      return 0
    }
    if (!['dev', 'staging', 'prod'].includes(values.stage ?? ''))
      throw new UsageError('--stage must be dev, staging or prod.')
    const region = values.region ?? process.env.AWS_REGION ?? 'eu-central-1'
    const { succeeded, failed } = await redrive(values.stage ?? '', { ...process.env, AWS_REGION: region })
    process.stdout.write(`${succeeded} events were handled, ${failed} failed again and stay in the queue.\n`)
    return failed > 0 ? 1 : 0
  })
