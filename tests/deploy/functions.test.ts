/** A device's life with the functions as they were deployed: their zips from S3, in processes that ask the Runtime API for events. */
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt'
import { afterAll, beforeAll, describe, expect, inject, it, vi } from 'vitest'
import { loadConfig } from '../../lib/config.ts'
import { createLog } from '../../lib/log.ts'
import type { AuthorizerResult } from '../../lib/mqtt/authorizer.ts'
import type { Delivery } from '../../lib/telemetry/delivery.ts'
import { SqsSpool } from '../../lib/telemetry/intake/sqs.ts'
import { prepareDatabases } from '../../local/databases.ts'
import { openDataPlane } from '../../local/mqtt/data-plane.ts'
import { startBroker } from '../../local/mqtt/embedded/broker.ts'
import { type Aws, awsAccess, findMoto, startAws } from '../support/aws.ts'
import { describeWith } from '../support/backends.ts'
import { account, startGateway } from '../support/lambda.ts'
import { serverless } from '../support/serverless.ts'
import { findSqld, startSqld } from '../support/sqld.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { DeployedStack } from './deployed-stack.ts'
import { startProtection } from './protection.ts'
import { addresses, copyForMoto, putSecrets, secrets, settings } from './serverless.ts'
import { readTemplate, resourcesOf } from './template.ts'

const stage = 'dev'
const name = `iotflow-${stage}`
const waitMs = { timeout: 60_000, interval: 100 }

interface Credentials {
  readonly client_id: string
  readonly username: string
  readonly topics: Readonly<Record<string, string>>
}

describeWith(
  { moto: findMoto() !== undefined, sqld: findSqld() !== undefined },
  'the deployed functions',
  () => {
    const endings: (() => Promise<unknown>)[] = []
    let stack: DeployedStack
    let httpUrl: string
    let mqttUrl: string
    let authorizer: string
    let aws: Aws
    const device = { id: 0, key: '', credentials: {} as Credentials }

    beforeAll(async () => {
      const folder = await temporaryFolder()
      endings.push(() => folder.remove())
      aws = await startAws()
      endings.push(() => aws.stop())
      const sqld = await startSqld()
      endings.push(() => sqld.stop())
      await prepareDatabases(loadConfig({ DATABASE_URL: sqld.url }), createLog('silent'))
      await putSecrets(aws, stage)
      const packaged = `${inject('packages')}/${stage}`
      await copyForMoto(packaged, `${folder.path}/package`)
      const protection = await startProtection(aws)
      endings.push(() => protection.close())
      await serverless(['deploy', '--stage', stage, '--package', `${folder.path}/package`], {
        ...settings,
        ...aws.environment,
        AWS_ENDPOINT_URL: protection.endpoint,
        DATABASE_URL: sqld.url,
      })
      // Moto knows domain configurations, but not from a stack.
      const template = await readTemplate(packaged)
      const [domain] = resourcesOf(template, 'AWS::IoT::DomainConfiguration')
      const domainName = 'a1b2c3.iot.eu-central-1.amazonaws.com'
      await aws.request('iot', `/domainConfigurations/${domain?.Properties.DomainConfigurationName}`, {
        method: 'POST',
        body: JSON.stringify({ domainName, domainConfigurationStatus: 'ENABLED', serviceType: 'DATA' }),
      })
      let broker: Awaited<ReturnType<typeof startBroker>> | undefined
      const plane = await openDataPlane(() => broker)
      endings.push(() => plane.close())
      stack = await DeployedStack.open({
        aws,
        name,
        template,
        folder: `${folder.path}/functions`,
        replace: {
          [addresses.database]: sqld.url,
          [addresses.broker]: plane.endpoint,
          [`https://sqs.${awsAccess.region}.amazonaws.com`]: aws.endpoint,
        },
        environment: {
          ...aws.environment,
          AWS_ACCESS_KEY_ID: plane.credentials.accessKeyId,
          AWS_SECRET_ACCESS_KEY: plane.credentials.secretAccessKey,
        },
      })
      endings.push(() => stack.close())
      authorizer = stack.functionOf('AWS::IoT::Authorizer', 'AuthorizerFunctionArn')
      const gateway = await startGateway(stack.routes, stack)
      endings.push(() => gateway.close())
      httpUrl = gateway.url
      const started = await startBroker({
        host: '127.0.0.1',
        port: 0,
        wsPort: 'none',
        arnPrefix: `arn:aws:iot:${awsAccess.region}:${account}:`,
        rules: stack.rules,
        nextMessageId: () => crypto.randomUUID(),
        authorize: async (event) => (await stack.invoke(authorizer, event)) as AuthorizerResult,
        invoke: (ruleName, event) => stack.carryOut(ruleName, event),
        log: () => undefined,
      })
      broker = started
      endings.push(() => started.close())
      mqttUrl = `mqtt://127.0.0.1:${started.port}`
    })
    afterAll(async () => {
      for (const end of endings.reverse()) await end()
    })

    const request = async (
      method: string,
      path: string,
      { headers = {}, body }: { headers?: Record<string, string>; body?: unknown } = {},
    ) => {
      const response = await fetch(`${httpUrl}${path}`, {
        method,
        headers: { ...(body === undefined ? {} : { 'Content-Type': 'application/json' }), ...headers },
        ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      })
      // biome-ignore lint/suspicious/noExplicitAny: the test looks at documented fields.
      const json = (await response.json().catch(() => undefined)) as any
      return { status: response.status, headers: response.headers, json }
    }
    const asAdmin = (method: string, path: string, body?: unknown) =>
      request(method, path, { headers: { Authorization: `Bearer ${secrets.ADMIN_TOKEN}` }, body })
    const asDevice = (method: string, path: string, body?: unknown) =>
      request(method, path, { headers: { 'X-API-Key': device.key }, body })
    const connect = (options: IClientOptions = {}): Promise<MqttClient> =>
      connectAsync(mqttUrl, {
        reconnectPeriod: 0,
        connectTimeout: 60_000,
        clientId: device.credentials.client_id,
        username: device.credentials.username,
        password: device.key,
        ...options,
      })
    const valuesOf = async (field: string) =>
      (
        (await asDevice('GET', '/api/v1/devices/telemetry?limit=100')).json.telemetry as Record<
          string,
          unknown
        >[]
      )
        .map((reading) => reading[field])
        .filter((value) => value !== undefined)
        .sort()

    it('start, every one of them, with the memory and the environment of the stack', async () => {
      const left = [...stack.functions]
      const startNext = async (): Promise<void> => {
        for (let id = left.pop(); id !== undefined; id = left.pop()) await stack.tryStart(id)
      }
      await Promise.all([startNext(), startNext()])
      expect(stack.functions.length).toBeGreaterThan(70)
    })

    it('register a device with the enrollment key of the parameter store, and no other', async () => {
      const body = { name: 'deployed', device_type: 'sensor' }
      const register = (key: string) =>
        request('POST', '/api/v1/devices/register', { headers: { 'X-Enrollment-Key': key }, body })
      expect((await register('wrong')).status).toBe(401)
      const { status, json } = await register(secrets.ENROLLMENT_KEY)
      expect(status).toBe(201)
      Object.assign(device, { id: json.device.id, key: json.device.api_key })
      const told = await asDevice('GET', '/api/v1/devices/mqtt-credentials')
      expect(told.status).toBe(200)
      device.credentials = told.json.credentials
      expect(told.json.credentials).toMatchObject({ mqtt_host: 'a1b2c3.iot.eu-central-1.amazonaws.com' })
    })

    describe.each([
      ['an unknown address', 404, 'NOT_FOUND', () => request('GET', '/api/v1/nothing')],
      ['no key', 401, 'UNAUTHORIZED', () => request('GET', '/api/v1/devices/status')],
      ['a wrong method', 405, 'METHOD_NOT_ALLOWED', () => request('DELETE', '/health')],
      ['no JSON', 400, undefined, () => asDevice('POST', '/api/v1/devices/telemetry', '{"n":')],
      ['nothing to store', 422, undefined, () => asDevice('POST', '/api/v1/devices/telemetry', { data: {} })],
      ['no such device', 404, 'NOT_FOUND', () => asAdmin('GET', '/api/v1/admin/devices/999999')],
    ])('answer %s', (_what, status, code, send) => {
      it(`with ${status} in the shape of the contract`, async () => {
        const answer = await send()
        expect(answer.status).toBe(status)
        expect(answer.json).toEqual({
          error: expect.objectContaining({
            code: code ?? expect.stringMatching(/^[A-Z_]+$/),
            message: expect.any(String),
            request_id: answer.headers.get('x-request-id'),
          }),
        })
      })
    })

    it('store what comes over HTTP', async () => {
      const { status, json } = await asDevice('POST', '/api/v1/devices/telemetry', { data: { http: 1 } })
      expect(status).toBe(201)
      expect(json).toMatchObject({ device_id: device.id, accepted: 1 })
      expect(await valuesOf('http')).toEqual([1])
    })

    it('let a device connect with its key and client id only', async () => {
      const event = (key: string, clientId: string) => ({
        token: undefined,
        signatureVerified: false,
        protocols: ['tls', 'mqtt'],
        protocolData: {
          tls: { serverName: 'a1b2c3-ats.iot.eu-central-1.amazonaws.com' },
          mqtt: {
            username: device.credentials.username,
            password: Buffer.from(key).toString('base64'),
            clientId,
          },
        },
        connectionMetadata: { id: crypto.randomUUID() },
      })
      const ask = async (key: string, clientId: string) =>
        (await stack.invoke(authorizer, event(key, clientId))) as AuthorizerResult
      const { client_id: clientId } = device.credentials
      const yes = await ask(device.key, clientId)
      expect(yes).toMatchObject({ isAuthenticated: true, principalId: String(device.id) })
      expect(JSON.stringify(yes.policyDocuments)).toContain(
        `arn:aws:iot:${awsAccess.region}:${account}:client/${clientId}`,
      )
      expect(await ask('not-the-key', clientId)).toMatchObject({
        isAuthenticated: false,
        policyDocuments: [],
      })
      const foreign = await ask(device.key, clientId.replace(String(device.id), String(device.id + 1)))
      expect(JSON.stringify(foreign.policyDocuments)).not.toContain('"Allow"')
      await expect(connect({ password: 'not-the-key' })).rejects.toThrow()
    })

    it('store what comes over MQTT, from the rule through the queue', async () => {
      const client = await connect()
      const { telemetry_publish: topic = '' } = device.credentials.topics
      await client.publishAsync(topic, '{"mqtt":1}', { qos: 1 })
      await client.publishAsync(`${topic}/sensors`, '{"mqtt":2}', { qos: 1 })
      await client.endAsync()
      expect(await stack.deliverQueues()).toEqual({ taken: 2, failed: 0 })
      expect(await valuesOf('mqtt')).toEqual([1, 2])
    })

    it('store every shape of message that the queue delivers, and make a dead letter of others', async () => {
      const [{ queue = '' } = {}] = stack.mappings
      const { telemetry_publish: topic = '' } = device.credentials.topics
      const payload = (n: number) => Buffer.from(JSON.stringify({ queued: n })).toString('base64')
      const clientId = device.credentials.client_id
      const event = (n: number) => ({
        payload: payload(n),
        topic,
        client_id: clientId,
        received_at: Date.now(),
        message_id: crypto.randomUUID(),
      })
      // A rule puts its event there itself.
      await stack.send(queue, event(1))
      // Lambda, after it has tried a call of a rule three times.
      await stack.send(queue, {
        version: '1.0',
        timestamp: new Date().toISOString(),
        requestContext: { condition: 'RetriesExhausted', approximateInvokeCount: 3 },
        requestPayload: event(2),
        responseContext: { statusCode: 200, functionError: 'Unhandled' },
        responsePayload: { errorType: 'AppError' },
      })
      // The error action of a rule that could not call the function.
      await stack.send(queue, {
        ruleName: 'iotflow_telemetry',
        topic,
        clientId,
        base64OriginalPayload: payload(3),
        failures: [{ failedAction: 'LambdaAction', failedResource: 'function', errorMessage: 'throttled' }],
      })
      // The submit function, while the store is away.
      const spool = new SqsSpool(
        { url: stack.queueUrl(queue), ...awsAccess },
        { noteRemoved: async () => {} },
      )
      const receivedAt = Date.now()
      const spooled: Delivery = {
        deviceId: device.id,
        deviceType: 'sensor',
        location: null,
        receivedAt,
        readings: [{ time: BigInt(receivedAt) * 1_000_000n, fields: { queued: 4 }, metadata: undefined }],
        rejected: 0,
      }
      expect(await spool.put([spooled])).toEqual([{ stored: 0, queued: 1, duplicates: 0 }])
      await stack.send(queue, { something: 'else' })
      expect(await stack.deliverQueues()).toEqual({ taken: 5, failed: 0 })
      expect(await valuesOf('queued')).toEqual([1, 2, 3, 4])
      const { json } = await asAdmin('GET', '/api/v1/admin/dead-letters')
      expect(json.dead_letters).toMatchObject([{ payload: '{"something":"else"}' }])
    })

    it('bring a command to the device and its answer back, and see when it comes and goes', async () => {
      const show = async () => (await asAdmin('GET', `/api/v1/admin/devices/${device.id}`)).json.device
      const client = await connect()
      const topics = device.credentials.topics
      const commands: { command_id: string; command: string }[] = []
      client.on('message', (_topic, message) => commands.push(JSON.parse(message.toString())))
      await client.subscribeAsync(topics.commands_subscribe ?? '', { qos: 1 })
      const sent = await asAdmin('POST', `/api/v1/admin/devices/${device.id}/commands`, { command: 'blink' })
      expect(sent.status).toBe(202)
      await vi.waitFor(() => expect(commands).toMatchObject([{ command: 'blink' }]), waitMs)
      const { command_id } = commands[0] ?? { command_id: '' }
      const answer = JSON.stringify({ command_id, status: 'succeeded', result: { seen: true } })
      await client.publishAsync(topics.commands_response_publish ?? '', answer, { qos: 1 })
      const path = `/api/v1/admin/devices/${device.id}/commands/${command_id}`
      await vi.waitFor(
        async () => expect(JSON.stringify((await asAdmin('GET', path)).json)).toContain('"succeeded"'),
        waitMs,
      )
      await vi.waitFor(async () => expect(await show()).toMatchObject({ is_online: true }), waitMs)
      await client.endAsync()
      await vi.waitFor(async () => expect(await show()).toMatchObject({ is_online: false }), waitMs)
    })

    it('do their work when the clock calls them', async () => {
      expect(stack.schedules.length).toBeGreaterThan(0)
      for (const { rule, functionId } of stack.schedules)
        await stack.invoke(functionId, {
          version: '0',
          id: crypto.randomUUID(),
          'detail-type': 'Scheduled Event',
          source: 'aws.events',
          account,
          time: new Date().toISOString(),
          region: awsAccess.region,
          resources: [`arn:aws:events:${awsAccess.region}:${account}:rule/${rule}`],
          detail: {},
        })
    })

    it('delete the device: its key opens nothing any more', async () => {
      const deleted = await asAdmin('DELETE', `/api/v1/admin/devices/${device.id}?telemetry=true`)
      expect([200, 202]).toContain(deleted.status)
      // Large deletes go on in a queue.
      await stack.deliverQueues()
      expect((await asAdmin('GET', `/api/v1/admin/devices/${device.id}`)).status).toBe(404)
      expect((await asDevice('GET', '/api/v1/devices/status')).status).toBe(401)
      await expect(connect()).rejects.toThrow()
    })

    it('write log lines, and nothing secret into them', async () => {
      const logs = await stack.logs()
      expect(logs).toContain('"msg"')
      expect(logs).not.toMatch(/Init Error|Invoke Error/)
      for (const secret of [...Object.values(secrets), device.key]) {
        expect(logs).not.toContain(secret)
        expect(logs).not.toContain(Buffer.from(secret).toString('base64'))
      }
    })
  },
)
