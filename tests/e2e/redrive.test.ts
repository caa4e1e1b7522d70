import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { createAwsCall } from '../../lib/lambda/aws.ts'
import { redrive } from '../../scripts/redrive.ts'
import { findMoto } from '../support/aws.ts'
import { describeWith } from '../support/backends.ts'
import { type Sqs, startSqs } from '../support/sqs.ts'

describeWith({ moto: findMoto() !== undefined }, 'the redrive of failed events', () => {
  let sqs: Sqs
  let endpoint: string
  let call: ReturnType<typeof createAwsCall>
  let QueueUrl: string
  let settings: Record<string, string>
  /** Calls of functions, as Lambda gets them. */
  const calls: { path: string; event: unknown }[] = []
  /** Functions that fail. */
  const failing = new Set<string>()
  /** Answers as Lambda does: 200 with a header when the function threw. */
  const lambda = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk) => {
      body += chunk
    })
    request.on('end', () => {
      calls.push({ path: request.url ?? '', event: JSON.parse(body) })
      const fails = [...failing].some((name) => request.url?.includes(name))
      response.writeHead(200, fails ? { 'X-Amz-Function-Error': 'Unhandled' } : {}).end('null')
    })
  })

  beforeAll(async () => {
    sqs = await startSqs()
    endpoint = `${new URL(sqs.queue.url).origin}/`
    call = createAwsCall(sqs.queue, { service: 'sqs', endpoint, protocol: '1.0', timeoutMs: 30_000 })
    await new Promise<void>((resolve) => lambda.listen(0, '127.0.0.1', resolve))
    settings = {
      AWS_REGION: sqs.queue.region,
      AWS_ACCESS_KEY_ID: sqs.queue.accessKeyId,
      AWS_SECRET_ACCESS_KEY: sqs.queue.secretAccessKey,
      AWS_ENDPOINT_URL_SQS: endpoint,
      AWS_ENDPOINT_URL_LAMBDA: `http://127.0.0.1:${(lambda.address() as AddressInfo).port}`,
    }
  }, 60_000)
  afterAll(async () => {
    lambda.close()
    await sqs.stop()
  })
  beforeEach(async () => {
    calls.length = 0
    failing.clear()
    const created = { QueueName: `iotflow-dev-FailedEvents-${randomBytes(6).toString('hex')}` }
    ;({ QueueUrl } = await call<{ QueueUrl: string }>('AmazonSQS.CreateQueue', created))
  })

  afterEach(() => call('AmazonSQS.DeleteQueue', { QueueUrl }))

  /** A message as Lambda writes it for the destination of failures. */
  const failed = (functionName: string, requestPayload: unknown) =>
    call('AmazonSQS.SendMessage', {
      QueueUrl,
      MessageBody: JSON.stringify({
        version: '1.0',
        requestContext: {
          functionArn: `arn:aws:lambda:eu-central-1:123456789012:function:${functionName}:$LATEST`,
          condition: 'RetriesExhausted',
          approximateInvokeCount: 3,
        },
        requestPayload,
      }),
    })
  const left = async () => {
    const asked = { QueueUrl, AttributeNames: ['All'] }
    const { Attributes } = await call<{ Attributes: Record<string, string> }>(
      'AmazonSQS.GetQueueAttributes',
      asked,
    )
    const { ApproximateNumberOfMessages, ApproximateNumberOfMessagesNotVisible } = Attributes
    return Number(ApproximateNumberOfMessages) + Number(ApproximateNumberOfMessagesNotVisible)
  }

  it('calls each function with its event, and deletes the events that succeed', async () => {
    for (let at = 0; at < 12; at += 1) await failed('iotflow-dev-mqtt-presence', { at })
    await failed('iotflow-dev-commands-deliver', { topic: 'a' })
    expect(await redrive('dev', settings)).toEqual({ succeeded: 13, failed: 0 })
    expect(await left()).toBe(0)
    expect(calls).toHaveLength(13)
    expect(calls).toContainEqual({
      path: '/2015-03-31/functions/iotflow-dev-commands-deliver/invocations',
      event: { topic: 'a' },
    })
  })

  it('tries each once, and leaves those that fail again or are not of Lambda', async () => {
    failing.add('mqtt-presence')
    await failed('iotflow-dev-mqtt-presence', {})
    await failed('iotflow-dev-commands-deliver', {})
    await call('AmazonSQS.SendMessage', { QueueUrl, MessageBody: 'no JSON' })
    expect(await redrive('dev', settings)).toEqual({ succeeded: 1, failed: 2 })
    expect(calls).toHaveLength(2)
    expect(await left()).toBe(2)
  })

  it('calls no function of another stage or system, whatever a message says', async () => {
    await failed('iotflow-prod-admin-delete', {})
    await failed('other', {})
    expect(await redrive('dev', settings)).toEqual({ succeeded: 0, failed: 2 })
    expect(calls).toEqual([])
  })

  it('leaves other stages alone', async () => {
    await failed('iotflow-dev-mqtt-presence', {})
    expect(await redrive('prod', settings)).toEqual({ succeeded: 0, failed: 0 })
    expect(await left()).toBe(1)
  })
})
