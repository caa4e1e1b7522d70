import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { authorizeMqtt } from '../../../functions/mqtt/authorize.ts'
import type { Devices } from '../../../lib/devices/devices.ts'
import { AppError } from '../../../lib/errors.ts'
import type { EventContext } from '../../../lib/lambda/handler.ts'
import { createLog } from '../../../lib/log.ts'
import type { AuthorizerResult } from '../../../lib/mqtt/authorizer.ts'
import { ClientIds } from '../../../lib/mqtt/client-ids.ts'
import { compilePolicies, type PolicyDocument } from '../../../lib/mqtt/policy.ts'
import { defaultTopics, TopicTree } from '../../../lib/mqtt/topics.ts'
import { Tally } from '../../../lib/tally.ts'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'

const names = { topics: defaultTopics, clientIds: new ClientIds(defaultTopics.root, undefined) }
const aws = { invokedFunctionArn: 'arn:aws:lambda:eu-central-1:123456789012:function:authorize' }

let functions: TestFunctions
let device: Awaited<ReturnType<TestFunctions['register']>>
beforeAll(async () => {
  functions = await openFunctions()
  device = await functions.register()
})
afterAll(() => functions.close())

const authorize = async (username?: string, password?: string, clientId = username?.split('?')[0]) =>
  (await functions.invoke('mqtt-authorize', {
    protocols: ['mqtt'],
    protocolData: {
      mqtt: {
        clientId,
        ...(username === undefined ? {} : { username }),
        ...(password === undefined ? {} : { password: Buffer.from(password).toString('base64') }),
      },
    },
    connectionMetadata: { id: 'c-1', address: '192.0.2.1' },
  })) as AuthorizerResult

/** The failed logins among the events of a device. */
const failuresOf = async (id: number): Promise<{ count: number; detail: Record<string, unknown> }[]> => {
  const { json } = await functions.call('admin-events', 'GET', `/api/v1/admin/devices/${id}/events`, {
    admin: true,
  })
  return json.events
    .filter(({ event }: { event: string }) => event === 'login_failed')
    .map(({ count, detail }: { count: number; detail: Record<string, unknown> }) => ({ count, detail }))
}

describe('a client with the id and the key of a device', () => {
  it('may connect, with policies that name only this device', async () => {
    const result = await authorize(String(device.id), device.key)
    expect(result).toMatchObject({ isAuthenticated: true, principalId: String(device.id) })
    const topics = JSON.stringify(result.policyDocuments).match(/iotflow\/devices\/[^/"]+/g)
    expect(new Set(topics)).toEqual(new Set([`iotflow/devices/${device.id}`]))
    expect(JSON.stringify(result)).not.toContain(device.key)
  })

  it.each([
    ['here', {}, 60],
    ['at AWS not before the time that it accepts', aws, 300],
  ])('is disconnected when its key ends, %s', async (_where, context, seconds) => {
    const { id, key } = await functions.register()
    const authorizer = authorizeMqtt({
      ...names,
      log: createLog('silent'),
      refusals: undefined,
      devices: {
        authenticate: async () => ({ device: { id }, expiresAt: Date.now() + 59_500 }),
      } as unknown as Devices,
    })
    const mqtt = { clientId: String(id), username: String(id), password: Buffer.from(key).toString('base64') }
    const result = await authorizer({ protocolData: { mqtt } }, context as EventContext)
    expect(result.disconnectAfterInSeconds).toBe(seconds)
  })

  it('may append the name of the authorizer to its user name', async () => {
    const named = `${device.id}?x-amz-customauthorizer-name=iotflow-dev`
    expect((await authorize(named, device.key)).principalId).toBe(String(device.id))
  })

  it.each(['esp32_', 'iotflow-device-', ''])(
    'gets the ARN of exactly its client id, %j and the id',
    async (before) => {
      const clientId = `${before}${device.id}`
      const { policyDocuments } = await authorize(String(device.id), device.key, clientId)
      const statements = policyDocuments.flatMap((document) => (document as PolicyDocument).Statement)
      const [connect, ...others] = statements.filter(({ Action }) => Action === 'iot:Connect')
      expect(connect).toMatchObject({ Effect: 'Allow', Resource: [`arn:aws:iot:local:0:client/${clientId}`] })
      expect(others).toEqual([])
    },
  )

  it.each(['sensor', '', 'other-99999', `0{id}`, `{id}${'x'.repeat(3)}`, 'a b-{id}'])(
    'may not connect as %j, and an event of the device says so',
    async (pattern) => {
      const { id, key } = await functions.register()
      const clientId = pattern.replace('{id}', String(id))
      const { isAuthenticated, policyDocuments } = await authorize(String(id), key, clientId)
      expect(isAuthenticated).toBe(true)
      expect(compilePolicies(policyDocuments).connect(clientId, { will: false, persistent: false })).toBe(
        false,
      )
      expect(await failuresOf(id)).toEqual([
        { count: 1, detail: { reason: 'client id', address: '192.0.2.1', client_id: clientId } },
      ])
    },
  )

  it('is refused while the device is inactive', async () => {
    const { id, key } = await functions.register()
    await functions.setStatus(id, 'inactive')
    expect((await authorize(String(id), key)).isAuthenticated).toBe(false)
    expect(await failuresOf(id)).toEqual([{ count: 1, detail: { reason: 'inactive', address: '192.0.2.1' } }])
    await functions.setStatus(id, 'active')
    expect((await authorize(String(id), key)).isAuthenticated).toBe(true)
  })
})

it.each<[string, () => [string | undefined, string?]]>([
  ['no user name', () => [undefined, device.key]],
  ['no password', () => [String(device.id)]],
  ["another device's id", () => [String(device.id + 1), device.key]],
  ['a wrong key', () => [String(device.id), 'x'.repeat(32)]],
  ['an id with a leading zero', () => [`0${device.id}`, device.key]],
  ['another suffix of its id', () => [`${device.id}?name=1`, device.key]],
  ['SQL', () => [`${device.id} OR 1=1`, device.key]],
])('a client with %s is refused, and gets no policies', async (_what, credentials) => {
  expect(await authorize(...credentials())).toMatchObject({ isAuthenticated: false, policyDocuments: [] })
})

describe('failed logins', () => {
  it('are one event of the device that they name, with a count and without the key', async () => {
    const { id } = await functions.register()
    for (const password of ['wrong-1', 'wrong-2', device.key]) await authorize(String(id), password)
    const failures = await failuresOf(id)
    expect(failures).toEqual([{ count: 3, detail: { reason: "another device's key", address: '192.0.2.1' } }])
    expect(JSON.stringify(failures)).not.toContain(device.key)
  })

  it('of a device that does not exist leave no trace', async () => {
    expect((await authorize('999999', 'wrong')).isAuthenticated).toBe(false)
    const events = '/api/v1/admin/devices/999999/events'
    expect((await functions.call('admin-events', 'GET', events, { admin: true })).status).toBe(404)
  })

  it.each([
    ['7', '7'],
    ['7?x-amz-customauthorizer-name=a', '7?x-amz-customauthorizer-name=a'],
    ['kEy-thAt-was-sent-as-the-user-name', 'kEy-th…'],
  ])('are logged with the user name %j as %j, and with the address', async (username, shown) => {
    const lines: unknown[] = []
    const log = {
      ...createLog('silent'),
      warn: (msg: string, fields: unknown) => void lines.push([msg, fields]),
    }
    const devices = {
      authenticate: () => Promise.reject(new AppError('UNAUTHORIZED', 'no')),
      noteRepeated: () => {},
    } as unknown as Devices
    const password = Buffer.from('the-wrong-key').toString('base64')
    const refusals = new Tally<string>()
    await authorizeMqtt({ ...names, log, devices, refusals })({
      protocolData: { mqtt: { username, password, clientId: '7' } },
      connectionMetadata: { id: 'c', address: '192.0.2.7' },
    })
    expect(lines).toMatchObject([['mqtt login failed', { username: shown, address: '192.0.2.7' }]])
    expect(refusals.entries()).toEqual([[expect.stringMatching(/^(wrong_key|no_credentials)$/), 1]])
    expect(JSON.stringify(lines)).not.toContain('the-wrong-key')
    expect(JSON.stringify(lines)).not.toContain(password)
  })
})

describe('in a stage of AWS, a client id', () => {
  const authorizeIn = async (stage: string, root: string, clientId: string) => {
    const noted: unknown[] = []
    const authorizer = authorizeMqtt({
      log: createLog('silent'),
      refusals: undefined,
      topics: new TopicTree(root),
      clientIds: new ClientIds(root, stage),
      devices: {
        authenticate: async () => ({ device: { id: 7 }, expiresAt: null }),
        noteRepeated: ({ detail }: { detail: unknown }) => noted.push(detail),
      } as unknown as Devices,
    })
    const mqtt = { clientId, username: '7', password: Buffer.from('key').toString('base64') }
    const { policyDocuments } = await authorizer({ protocolData: { mqtt } }, aws as EventContext)
    const prefix = 'arn:aws:iot:eu-central-1:123456789012:'
    return { policy: compilePolicies(policyDocuments, prefix), noted }
  }
  const plain = { will: false, persistent: false }

  it.each([
    ['dev', 'iotflow-dev', 'iotflow-dev-device-7', true],
    ['dev', 'iotflow-dev', 'iotflow-device-7', false],
    ['dev', 'iotflow-dev', '7', false],
    ['prod', 'iotflow', 'iotflow-device-7', true],
    ['prod', 'iotflow', 'iotflow-dev-device-7', false],
  ])('in %s with root %s: %s may connect: %s', async (stage, root, clientId, may) => {
    const { policy, noted } = await authorizeIn(stage, root, clientId)
    expect(policy.connect(clientId, plain)).toBe(may)
    expect(noted).toEqual(may ? [] : [{ reason: 'client id', client_id: clientId }])
  })

  it('gives the rights to the topics of the stage only', async () => {
    const { policy } = await authorizeIn('dev', 'iotflow-dev', 'iotflow-dev-7')
    const may = (root: string) => [
      policy.publish(`${root}/devices/7/telemetry`),
      policy.publish(`${root}/devices/7/telemetry/a`),
      policy.subscribe(`${root}/devices/7/commands`),
      policy.subscribe(`${root}/devices/7/commands/#`),
      policy.receive(`${root}/devices/7/config`),
    ]
    expect(may('iotflow-dev')).toEqual(Array(5).fill(true))
    expect(may('iotflow')).toEqual(Array(5).fill(false))
  })
})
