/** Starts an SQS for one test: the moto server, which speaks the SQS protocol. */
import type { AwsAccess } from '../../lib/lambda/aws.ts'
import { type Aws, awsAccess, startAws } from './aws.ts'

export interface SqsMessage {
  readonly MessageId: string
  readonly ReceiptHandle: string
  readonly Body: string
  /** `SentTimestamp`, `ApproximateReceiveCount` and others. */
  readonly Attributes?: Readonly<Record<string, string>>
}

/** One queue. */
export interface Queue {
  /** Receives up to ten messages. They are invisible to others for `visibilityS` seconds. */
  receive(visibilityS?: number): Promise<SqsMessage[]>
  delete(message: Pick<SqsMessage, 'ReceiptHandle'>): Promise<void>
}

export interface Sqs extends Queue {
  /** The address of a queue, with credentials. */
  readonly queue: AwsAccess & { readonly url: string }
  /** Stops the server. */
  stop(): Promise<void>
}

export const queueAt = (aws: Aws, url: string): Queue => ({
  async receive(visibilityS = 30) {
    const { Messages = [] } = await aws.call<{ Messages?: SqsMessage[] }>('sqs', 'AmazonSQS.ReceiveMessage', {
      QueueUrl: url,
      MaxNumberOfMessages: 10,
      VisibilityTimeout: visibilityS,
      AttributeNames: ['All'],
    })
    return Messages
  },
  async delete({ ReceiptHandle }) {
    await aws.call('sqs', 'AmazonSQS.DeleteMessage', { QueueUrl: url, ReceiptHandle })
  },
})

/** @throws {Error} with its output when it does not start. */
export async function startSqs(): Promise<Sqs> {
  const aws = await startAws()
  const { QueueUrl: url } = await aws.call<{ QueueUrl: string }>('sqs', 'AmazonSQS.CreateQueue', {
    QueueName: 'spool',
  })
  return { queue: { url, ...awsAccess }, ...queueAt(aws, url), stop: () => aws.stop() }
}
