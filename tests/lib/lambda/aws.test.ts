import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, it, onTestFinished } from 'vitest'
import { accessOf, createAwsCall } from '../../../lib/lambda/aws.ts'

/** A service that answers each request with the next of these statuses, then with 200. */
const startService = async (...statuses: number[]) => {
  const requests: { headers: IncomingHttpHeaders; body: string }[] = []
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    requests.push({ headers: request.headers, body })
    response.writeHead(statuses.shift() ?? 200)
    response.end(JSON.stringify({ message: `what the service says of ${body}` }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  const access = accessOf({
    AWS_REGION: 'eu-central-1',
    AWS_ACCESS_KEY_ID: 'id',
    AWS_SECRET_ACCESS_KEY: 'hunter2',
    AWS_SESSION_TOKEN: 'session',
  })
  const call = createAwsCall(access, { service: 'sqs', endpoint, protocol: '1.0', timeoutMs: 5000 })
  return { requests, call }
}

it('signs a call for its region and service, and resolves with the answer', async () => {
  const { requests, call } = await startService()
  expect(await call('AmazonSQS.SendMessage', { a: 1 })).toEqual({
    message: 'what the service says of {"a":1}',
  })
  expect(requests).toMatchObject([
    {
      body: '{"a":1}',
      headers: {
        'content-type': 'application/x-amz-json-1.0',
        'x-amz-target': 'AmazonSQS.SendMessage',
        'x-amz-security-token': 'session',
        authorization: expect.stringMatching(
          /^AWS4-HMAC-SHA256 Credential=id\/\d{8}\/eu-central-1\/sqs\/aws4_request/,
        ),
      },
    },
  ])
  expect(JSON.stringify(requests)).not.toContain('hunter2')
})

it('retries twice after a fault of the service', async () => {
  const { requests, call } = await startService(500, 503)
  await call('AmazonSQS.SendMessage', {})
  expect(requests).toHaveLength(3)
})

it.each([
  [400, [400]],
  [503, [503, 503, 503]],
])('fails with the status %i and without a word of the service', async (status, statuses) => {
  const { call } = await startService(...statuses)
  await expect(call('AmazonSQS.SendMessage', { secret: 'hunter2' })).rejects.toMatchObject({
    name: 'AwsFault',
    code: `HTTP_${status}`,
    message: `AmazonSQS.SendMessage: status ${status}`,
  })
})
