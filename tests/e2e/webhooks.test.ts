/** Webhooks from an event to the receiver: on one machine, over a SIGKILL, and in the cloud through their queue. */
import { Webhook as Verifier } from 'standardwebhooks'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { loadConfig } from '../../lib/config.ts'
import { createLog } from '../../lib/log.ts'
import { prepareDatabases } from '../../local/databases.ts'
import { loadFunctions } from '../../local/functions.ts'
import { findMoto } from '../support/aws.ts'
import { describeWith } from '../support/backends.ts'
import { builtCloud } from '../support/cloud-bundles.ts'
import { adminToken, type Deployment, deployments } from '../support/deployments.ts'
import { startGateway, startLambda } from '../support/lambda.ts'
import { findSqld, type Sqld, startSqld } from '../support/sqld.ts'
import { type Sqs, startSqs } from '../support/sqs.ts'
import { startStandaloneServer } from '../support/standalone.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { until } from '../support/waiting.ts'
import { type Received, type Receiver, startReceiver } from '../support/webhook-receiver.ts'

const allowed = { WEBHOOK_PRIVATE_ADDRESSES: '127.0.0.1' }
const signingKey = 'signing-key-of-the-tests-0123456789'

let receiver: Receiver
beforeEach(async () => {
  receiver = await startReceiver()
})
afterEach(() => receiver.close())

const callerOf = (httpUrl: string) => async (method: string, path: string, body?: object) => {
  const answer = await fetch(`${httpUrl}${path}`, {
    method,
    headers: { Authorization: `Bearer ${adminToken}`, 'Content-Type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  // biome-ignore lint/suspicious/noExplicitAny: the documents of the API.
  return (await answer.json()) as any
}
const isSigned = (secret: string, { text, headers }: Received) =>
  new Verifier(secret).verify(text, headers as Record<string, string>) !== undefined
const newWebhook = { name: 'e2e', events: ['device.*', 'command.*'] }

describe.each(['npm start', 'npm run dev'] as const)('with %s', (name) => {
  let deployment: Deployment
  beforeAll(async () => {
    deployment = await deployments[name](allowed)
  })
  afterAll(() => deployment.stop())

  it('a receiver is told of a registered device, by a message that it can check', async () => {
    const call = callerOf(deployment.httpUrl)
    const url = receiver.url
    const { webhook, secret } = await call('POST', '/api/v1/admin/webhooks', { ...newWebhook, url })
    expect(await call('POST', `/api/v1/admin/webhooks/${webhook.id}/test`)).toMatchObject({ delivered: true })
    const { device } = await call('POST', '/api/v1/devices/register', { name: 'told', device_type: 'pump' })
    const told = () => receiver.received.find(({ body }) => body.type === 'device.registered')
    await until(() => told() !== undefined, 'the message', 100)
    const message = told() as Received
    expect(isSigned(secret, message)).toBe(true)
    expect(message.body.data).toMatchObject({ device_id: device.id, device_name: 'told' })
    expect(message.text).not.toContain(device.api_key)
    await call('DELETE', `/api/v1/admin/webhooks/${webhook.id}`)
  })
})

it('a receiver is told of an alert that a reading opens, and of its end, once each', async () => {
  const server = await startStandaloneServer({ settings: { ...allowed, ADMIN_TOKEN: adminToken } })
  try {
    const call = callerOf(server.httpUrl)
    await call('POST', '/api/v1/admin/webhooks', { ...newWebhook, url: receiver.url, events: ['alert.*'] })
    const { id, key, name } = await server.register('Boiler')
    await call('POST', '/api/v1/admin/alert-rules', {
      name: 'Too hot',
      severity: 'critical',
      target: { device_id: id },
      condition: { kind: 'threshold', field: 'temperature', op: '>', value: 90, clear_value: 80 },
    })
    for (const temperature of [95, 96, 85, 70]) {
      const { status } = await server.request('POST', '/api/v1/telemetry', { key, body: { temperature } })
      expect(status).toBe(201)
    }
    await until(() => receiver.received.length >= 2, 'both messages')
    expect(receiver.received.map(({ body }) => body.type)).toEqual(['alert.opened', 'alert.cleared'])
    for (const { body } of receiver.received)
      expect(body.data).toMatchObject({
        device_id: id,
        device_name: name,
        rule_name: 'Too hot',
        severity: 'critical',
        opened_value: 95,
      })
  } finally {
    await server.stop()
  }
})

it('a message whose answer a killed server did not record comes again under the same id, signed by the same secret', async () => {
  const folder = await temporaryFolder()
  const settings = { ...allowed, ADMIN_TOKEN: adminToken, DATA_DIR: folder.path }
  const first = await startStandaloneServer({ settings })
  let second: typeof first | undefined
  try {
    const call = callerOf(first.httpUrl)
    const { webhook, secret } = await call('POST', '/api/v1/admin/webhooks', {
      ...newWebhook,
      url: receiver.url,
    })
    receiver.answer(() => (response) => {
      first.kill('SIGKILL')
      response.writeHead(204).end()
    })
    await call('POST', '/api/v1/devices/register', { name: 'killed', device_type: 'pump' })
    await first.ended
    expect(receiver.received).toHaveLength(1)
    receiver.answer(204)
    second = await startStandaloneServer({ settings })
    await until(() => receiver.received.length >= 2, 'the second message')
    expect(new Set(receiver.received.map(({ id }) => id)).size).toBe(1)
    expect(receiver.received.map((message) => isSigned(secret, message))).toEqual([true, true])
    const path = `/api/v1/admin/webhooks/${webhook.id}/deliveries?status=delivered`
    const again = callerOf(second.httpUrl)
    await until(async () => (await again('GET', path)).deliveries.length === 1, 'the record')
    const said = `${JSON.stringify([...first.log(), ...second.log()])}${second.out()}`
    expect(said).not.toContain('whsec_')
    expect(said).not.toContain(secret.slice(6))
  } finally {
    await second?.stop()
    await folder.remove()
  }
})

describeWith({ moto: findMoto() !== undefined, sqld: findSqld() !== undefined }, 'in the cloud', () => {
  let sqs: Sqs
  let sqld: Sqld
  let lambda: ReturnType<typeof startLambda>
  let gateway: Awaited<ReturnType<typeof startGateway>>
  beforeAll(async () => {
    ;[sqs, sqld] = await Promise.all([startSqs(), startSqld(), builtCloud()])
    await prepareDatabases(loadConfig({ DATABASE_URL: sqld.url }), createLog('silent'))
    lambda = startLambda(new URL('../../dist/cloud/', import.meta.url), {
      ...allowed,
      STAGE: 'dev',
      ADMIN_TOKEN: adminToken,
      WEBHOOK_SIGNING_KEY: signingKey,
      WEBHOOK_QUEUE_URL: sqs.queue.url,
      DATABASE_URL: sqld.url,
      OPEN_REGISTRATION: 'true',
      AWS_REGION: sqs.queue.region,
      AWS_ACCESS_KEY_ID: sqs.queue.accessKeyId,
      AWS_SECRET_ACCESS_KEY: sqs.queue.secretAccessKey,
      LOG_LEVEL: 'warn',
    })
    gateway = await startGateway(await loadFunctions(), lambda)
  })
  afterAll(async () => {
    await gateway.close()
    await lambda.close()
    await sqld.stop()
    await sqs.stop()
  })

  it('a message of the queue starts the delivery, and the schedule sends what no message told of', async () => {
    const call = callerOf(gateway.url)
    const { secret } = await call('POST', '/api/v1/admin/webhooks', { ...newWebhook, url: receiver.url })
    await call('POST', '/api/v1/devices/register', { name: 'cloud 1', device_type: 'pump' })
    let bodies: string[] = []
    await until(
      async () => {
        bodies = (await sqs.receive()).map(({ Body }) => Body)
        return bodies.length > 0
      },
      'a message of the queue',
      200,
    )
    const Records = bodies.map((body, at) => ({ messageId: String(at), body, eventSource: 'aws:sqs' }))
    await lambda.invoke('webhooks-deliver', { Records })
    expect(receiver.received.map(({ body }) => body.data.device_name)).toEqual(['cloud 1'])
    await call('POST', '/api/v1/devices/register', { name: 'cloud 2', device_type: 'pump' })
    await lambda.invoke('webhooks-sweep', {})
    expect(receiver.received.map(({ body }) => body.data.device_name)).toEqual(['cloud 1', 'cloud 2'])
    expect(receiver.received.every((message) => isSigned(secret, message))).toBe(true)
  })
})
