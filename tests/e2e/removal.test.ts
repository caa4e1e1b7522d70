/** `serverless remove` against a CloudFormation of its own, with a stack that has queues with and without data to keep. */
import { AwsClient } from 'aws4fetch'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createAwsCall } from '../../lib/lambda/aws.ts'
import { findMoto } from '../support/aws.ts'
import { describeWith } from '../support/backends.ts'
import { serverless } from '../support/serverless.ts'
import { type Sqs, startSqs } from '../support/sqs.ts'

const template = {
  Resources: {
    ServerlessDeploymentBucket: { Type: 'AWS::S3::Bucket' },
    // Moto knows only this word of the two.
    SpoolQueue: { Type: 'AWS::SQS::Queue', DeletionPolicy: 'Retain' },
    OtherQueue: { Type: 'AWS::SQS::Queue' },
    Logs: {
      Type: 'AWS::Logs::LogGroup',
      DeletionPolicy: 'RetainExceptOnCreate',
      Properties: { LogGroupName: '/aws/lambda/iotflow-dev-a' },
    },
  },
}

describeWith({ moto: findMoto() !== undefined }, 'the removal of a stage', () => {
  let sqs: Sqs
  let endpoint: string
  let settings: Record<string, string>

  const cloudFormation = async (action: string, parameters: Record<string, string>) => {
    const client = new AwsClient({ ...sqs.queue, sessionToken: '', service: 'cloudformation' })
    const body = new URLSearchParams({ Action: action, Version: '2010-05-15', ...parameters })
    const headers = { 'Content-Type': 'application/x-www-form-urlencoded' }
    const response = await client.fetch(endpoint, { method: 'POST', headers, body: body.toString() })
    return { status: response.status, text: await response.text() }
  }
  const queues = async () => {
    const call = createAwsCall(sqs.queue, { service: 'sqs', endpoint, protocol: '1.0', timeoutMs: 30_000 })
    const { QueueUrls = [] } = await call<{ QueueUrls?: string[] }>('AmazonSQS.ListQueues', {})
    return QueueUrls.filter((url) => url.includes('iotflow-'))
  }

  beforeAll(async () => {
    sqs = await startSqs()
    endpoint = `${new URL(sqs.queue.url).origin}/`
    settings = {
      AWS_ACCESS_KEY_ID: sqs.queue.accessKeyId,
      AWS_SECRET_ACCESS_KEY: sqs.queue.secretAccessKey,
      AWS_REGION: sqs.queue.region,
      AWS_ENDPOINT_URL: endpoint,
    }
    const created = await cloudFormation('CreateStack', {
      StackName: 'iotflow-dev',
      TemplateBody: JSON.stringify(template),
    })
    expect(created.status, created.text).toBe(200)
    expect(await queues()).toHaveLength(2)
  }, 60_000)
  afterAll(() => sqs.stop())

  it('refuses prod without its name once more, and says what stands in the way', async () => {
    const removal = serverless(['remove', '--stage', 'prod'], settings)
    await expect(removal).rejects.toThrow(
      /only with\s+--confirm prod[\s\S]*--no-enable-termination-protection/,
    )
  }, 120_000)

  it('says what stays and how to delete it', async () => {
    const said = await serverless(['remove', '--stage', 'dev'], settings)
    const left = await queues()
    expect(said).toContain('These stay, with their data.')
    expect(said).toContain('aws logs delete-log-group --log-group-name /aws/lambda/iotflow-dev-a')
    expect(left.map((url) => url.replace(/^.*\/|-[^-]*$/g, ''))).toContain('iotflow-dev-SpoolQueue')
    // Moto names the host of AWS in a stack, and its own in a list.
    for (const url of left.filter((one) => one.includes('SpoolQueue')))
      expect(said).toMatch(
        new RegExp(`aws sqs delete-queue --queue-url https?://[^/]+${new URL(url).pathname}\n`),
      )
    expect(said).not.toContain('OtherQueue')
    const { text } = await cloudFormation('DescribeStacks', { StackName: 'iotflow-dev' })
    expect(text).toContain('does not exist')
  }, 120_000)
})
