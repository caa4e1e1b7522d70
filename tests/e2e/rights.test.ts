import { createClient } from '@libsql/client'
import { connectAsync, type IClientOptions } from 'mqtt'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Access } from '../../lib/http/route.ts'
import { loadFunctions } from '../../local/functions.ts'
import { examplePath, loadOperations, type Operation } from '../../scripts/openapi/operations.ts'
import { type Deployment, deployments } from '../support/deployments.ts'
import { addFinishedDeletion } from '../support/finished-deletion.ts'
import { temporaryFolder } from '../support/temporary.ts'

const operations = await loadOperations(await loadFunctions())
const enrollmentKey = 'enrolment-key-of-the-tests'
const wrongKey = 'A'.repeat(32)

let deployment: Deployment
let made = 0
let dataDir = ''
let endFolder = async () => {}
beforeAll(async () => {
  const folder = await temporaryFolder()
  dataDir = folder.path
  endFolder = folder.remove
  deployment = await deployments['npm start']({
    DATA_DIR: dataDir,
    ENROLLMENT_KEY: enrollmentKey,
    OPEN_REGISTRATION: 'false',
    PUBLIC_TELEMETRY_READS: 'false',
    WEBHOOK_PRIVATE_ADDRESSES: '127.0.0.1',
  })
})
afterAll(async () => {
  await deployment.stop()
  await endFolder()
})

const call = (method: string, path: string, headers: Record<string, string>, body?: unknown) =>
  fetch(`${deployment.httpUrl}${path}`, {
    method,
    headers: { ...(body === undefined ? {} : { 'Content-Type': 'application/json' }), ...headers },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  })

interface Device {
  readonly id: number
  readonly key: string
}

const register = async (): Promise<Device> => {
  made += 1
  const body = { name: `device ${made}`, device_type: 'sensor' }
  const answer = await call('POST', '/api/v1/devices/register', { 'X-Enrollment-Key': enrollmentKey }, body)
  const { device } = (await answer.json()) as { device: { id: number; api_key: string } }
  return { id: device.id, key: device.api_key }
}
const admin = () => ({ Authorization: `Bearer ${deployment.adminToken}` })
const setStatus = (id: number, status: string) =>
  call('PUT', `/api/v1/admin/devices/${id}/status`, admin(), { status })

/** Makes a command for this device. @returns its id. */
const command = async (deviceId: number): Promise<string> => {
  const path = `/api/v1/admin/devices/${deviceId}/commands`
  const answer = await call('POST', path, admin(), { command: 'restart' })
  return ((await answer.json()) as { command_id: string }).command_id
}

/** Makes a dead letter of this device. @returns its id. */
const deadLetter = async (deviceId: number): Promise<number> => {
  const client = createClient({ url: `file:${dataDir}/registry.db`, timeout: 5000 })
  const { lastInsertRowid } = await client.execute({
    sql: `INSERT INTO dead_letters (device_id, topic, payload, size, reason, received_at)
          VALUES (?, 'iotflow/devices/' || ? || '/telemetry', '{"t":2}', 7, 'Put here by a test.', ?)`,
    args: [deviceId, deviceId, Date.now()],
  })
  client.close()
  return Number(lastInsertRowid)
}

const fleetCommandTo = async (id: number): Promise<string> => {
  const body = { command: 'ping', filter: { ids: [id] } }
  const answer = await call('POST', '/api/v1/admin/fleet/commands', admin(), body)
  return ((await answer.json()) as { fleet_command_id: string }).fleet_command_id
}

/** Makes a rule that this device breaks. @returns its id. */
const alertRule = async (deviceId: number): Promise<number> => {
  const condition = { kind: 'threshold', field: 't', op: '>', value: 0 }
  const body = { name: `of ${deviceId}`, target: { device_id: deviceId }, condition }
  const answer = await call('POST', '/api/v1/admin/alert-rules', admin(), body)
  return ((await answer.json()) as { rule: { id: number } }).rule.id
}

/** Makes a webhook that nobody answers, with a delivery. @returns their ids. */
const webhook = async (): Promise<{ webhook: number; delivery: number }> => {
  const url = 'https://127.0.0.1:9/'
  const body = { name: 'of the tests', url, events: ['alert.*'], enabled: true }
  const made = await call('POST', '/api/v1/admin/webhooks', admin(), body)
  const { id } = ((await made.json()) as { webhook: { id: number } }).webhook
  const tested = await call('POST', `/api/v1/admin/webhooks/${id}/test`, admin())
  return { webhook: id, delivery: ((await tested.json()) as { delivery_id: number }).delivery_id }
}

/** Opens an alert of a new device. @returns its id. */
const alert = async (): Promise<number> => {
  const { id, key } = await register()
  const rule = await alertRule(id)
  await call('POST', '/api/v1/devices/telemetry', { 'X-API-Key': key }, { t: 1 })
  const answer = await call('GET', `/api/v1/admin/alerts?rule_id=${rule}`, admin())
  return ((await answer.json()) as { alerts: { id: number }[] }).alerts[0]?.id ?? 0
}

/** The id that the address of an operation names. */
const idFor = async ({ path }: Operation, target: Device): Promise<number> => {
  if (path.includes('dead-letters/')) return deadLetter(target.id)
  if (path.includes('alert-rules/')) return alertRule(target.id)
  if (path.includes('alerts/')) return alert()
  if (path.includes('deletions/')) return addFinishedDeletion(dataDir, target.id)
  if (path.includes('enrollment-keys/')) {
    const answer = await call('POST', '/api/v1/admin/enrollment-keys', admin(), { name: `of ${target.id}` })
    return ((await answer.json()) as { enrollment_key: { id: number } }).enrollment_key.id
  }
  if (!path.includes('fleet/config/')) return target.id
  const body = { filter: { ids: [target.id] }, configuration: { interval: 5 } }
  const answer = await call('PUT', '/api/v1/admin/fleet/config', admin(), body)
  return ((await answer.json()) as { fleet_configuration_id: number }).fleet_configuration_id
}

/** Each caller has its own devices, so that no answer depends on another caller. */
const callers: Record<string, (target: Device) => Promise<Record<string, string>>> = {
  nobody: async () => ({}),
  'wrong key': async () => ({ 'X-API-Key': wrongKey, 'X-Enrollment-Key': wrongKey }),
  'own key': async ({ key }) => ({ 'X-API-Key': key }),
  "other's key": async () => ({ 'X-API-Key': (await register()).key }),
  inactive: async ({ id, key }) => {
    await setStatus(id, 'inactive')
    return { 'X-API-Key': key }
  },
  maintenance: async ({ id, key }) => {
    await setStatus(id, 'maintenance')
    return { 'X-API-Key': key }
  },
  admin: async () => admin(),
  'wrong admin': async () => ({ Authorization: `Bearer ${'x'.repeat(40)}` }),
  enrolment: async () => ({ 'X-Enrollment-Key': enrollmentKey }),
}

type Expected = 'ok' | 401 | 403 | 404
const rights: Record<Access, Record<string, Expected>> = {
  none: Object.fromEntries(Object.keys(callers).map((caller) => [caller, 'ok'])),
  device: {
    nobody: 401,
    'wrong key': 401,
    'own key': 'ok',
    "other's key": 'ok',
    inactive: 403,
    maintenance: 'ok',
    admin: 401,
    'wrong admin': 401,
    enrolment: 401,
  },
  admin: {
    ...Object.fromEntries(Object.keys(callers).map((caller) => [caller, 401])),
    admin: 'ok',
  },
  metrics: {
    ...Object.fromEntries(Object.keys(callers).map((caller) => [caller, 401])),
    admin: 'ok',
  },
  read: {
    nobody: 401,
    'wrong key': 401,
    'own key': 'ok',
    "other's key": 404,
    inactive: 403,
    maintenance: 'ok',
    admin: 'ok',
    'wrong admin': 401,
    enrolment: 401,
  },
  enrol: {
    ...Object.fromEntries(Object.keys(callers).map((caller) => [caller, 401])),
    enrolment: 'ok',
  },
}

const expectedOf = ({ access, path }: Operation, caller: string): Expected | undefined =>
  // A device gets 404 for the id of another device, or of its command.
  access === 'device' && caller === "other's key" && /\{(?:id|command_id)\}/.test(path)
    ? 404
    : rights[access][caller]

const bodyOf = async ({ id, body }: Operation): Promise<unknown> => {
  // Each code is good once.
  if (id === 'admin-session') return (await call('POST', '/api/v1/admin/session-codes', admin())).json()
  const [type] = body?.contentTypes ?? []
  if (type !== undefined) return body?.examples[type]
  const example = Object.values(body?.examples ?? {})[0]
  // Every device needs a name of its own.
  if (typeof example === 'object' && example !== null && 'name' in example) {
    made += 1
    return { ...example, name: `example ${made}` }
  }
  return example
}

/** Of the functions that answer nothing without one. */
const neededQueries: Readonly<Record<string, string>> = { 'telemetry-fleet': '?field=t' }

describe('over HTTP', () => {
  const names = Object.keys(callers)
  const rows: string[] = []
  afterAll(() => {
    const head = `${'route'.padEnd(52)} ${'who'.padEnd(7)} ${names.map((name) => name.padEnd(12)).join('')}`
    process.stdout.write(`\n${[head, ...rows].join('\n')}\n`)
  })

  it.each(operations.map((operation) => [`${operation.method} ${operation.path}`, operation] as const))(
    '%s accepts only the callers that may use it',
    async (name, operation) => {
      const answers: Record<string, Expected | number> = {}
      for (const [caller, become] of Object.entries(callers)) {
        const target = await register()
        const reading = await call('POST', '/api/v1/devices/telemetry', { 'X-API-Key': target.key }, { t: 1 })
        expect(reading.status).toBe(201)
        const [type] = operation.body?.contentTypes ?? []
        const headers = { ...(await become(target)), ...(type && { 'Content-Type': type }) }
        const hook = operation.path.includes('webhooks/') ? await webhook() : undefined
        const named = hook?.webhook ?? (await idFor(operation, target))
        const path = examplePath(operation, named, {
          command_id: await command(target.id),
          fleet_command_id: await fleetCommandTo(target.id),
          device_type: 'sensor',
          ...(hook && { delivery_id: String(hook.delivery) }),
        })
        const query = neededQueries[operation.functionName] ?? ''
        const answer = await call(operation.method, `${path}${query}`, headers, await bodyOf(operation))
        await answer.body?.cancel()
        const { status } = answer
        answers[caller] = status >= 200 && status < 300 ? 'ok' : status
      }
      rows.push(
        `${name.padEnd(52)} ${operation.access.padEnd(7)} ${names.map((caller) => String(answers[caller]).padEnd(12)).join('')}`,
      )
      expect(answers).toEqual(
        Object.fromEntries(names.map((caller) => [caller, expectedOf(operation, caller)])),
      )
    },
  )
})

describe('a connection over MQTT', () => {
  it('ends with the key that has opened it', async () => {
    const { id } = await register()
    const body = { ttl_s: 10, grace_s: 0 }
    const answer = await call('POST', `/api/v1/admin/devices/${id}/rotate-key`, admin(), body)
    const { api_key: password } = (await answer.json()) as { api_key: string }
    const login: IClientOptions = {
      protocolVersion: 5,
      reconnectPeriod: 0,
      clientId: String(id),
      username: String(id),
      password,
    }
    const client = await connectAsync(deployment.mqttUrl, login)
    client.on('error', () => {})
    await new Promise<void>((resolve) => client.once('close', () => resolve()))
    await expect(connectAsync(deployment.mqttUrl, login, false)).rejects.toThrow(/bad user name/i)
  })
})

describe('over MQTT', () => {
  const deviceTopics = [
    'telemetry',
    'telemetry/sensors',
    'status',
    'status/online',
    'status/offline',
    'status/heartbeat',
    'status/other',
    'commands',
    'commands/response',
    'commands/c1/response',
    'commands/a/b/response',
    'commands/control',
    'commands/+',
    'commands/#',
    'config',
    'config/reported',
    'anything',
    '+',
    '#',
  ]
  const topicsOf = (id: string) => deviceTopics.map((topic) => `iotflow/devices/${id}/${topic}`)
  const groups: Record<string, string[]> = {
    own: topicsOf('OWN'),
    other: topicsOf('OTHER'),
    shared: [
      'iotflow/fleet/notices/all',
      'iotflow/fleet/notices/#',
      'iotflow/fleet/commands',
      'iotflow/devices/+/telemetry',
      '$share/group/iotflow/devices/OWN/commands',
      '+/devices/OWN/commands',
      '#',
    ],
    system: [
      '$SYS/broker/uptime',
      '$SYS/#',
      '$aws/events/presence/connected/OWN',
      '$aws/#',
      '$aws/rules/any',
    ],
  }
  const mine = (topic: string) => `iotflow/devices/OWN/${topic}`
  const mayRetain = ['status', 'status/online', 'status/offline', 'status/heartbeat'].map(mine)
  const answers = ['commands/response', 'commands/c1/response']
  const mayPublish = [
    ...mayRetain,
    ...['telemetry', 'telemetry/sensors', 'config/reported', ...answers].map(mine),
  ]
  // Filters within `commands/#` are granted; a device gets none of its own answers through them.
  const filters = [
    'commands',
    ...answers,
    'commands/a/b/response',
    'commands/control',
    'commands/+',
    'commands/#',
  ]
  const maySubscribe = [
    ...[...filters, 'config'].map(mine),
    'iotflow/fleet/notices/all',
    'iotflow/fleet/notices/#',
  ]
  const allowed: Record<string, string[]> = {
    publish: mayPublish,
    retain: mayRetain,
    subscribe: maySubscribe,
    will: mayPublish,
    'retained will': mayRetain,
  }

  let [own, other] = [] as unknown as [Device, Device]
  beforeAll(async () => {
    own = await register()
    other = await register()
  })
  const connect = (options: IClientOptions = {}) => {
    made += 1
    return connectAsync(deployment.mqttUrl, {
      protocolVersion: 4,
      reconnectPeriod: 0,
      clientId: `${own.id}-${made}`,
      username: String(own.id),
      password: own.key,
      ...options,
    })
  }

  /** The client library refuses some topics itself; a faulty device would send them. */
  const isName = (topic: string) => !/[+#]/.test(topic)

  const attempts: Record<string, (topic: string) => Promise<boolean>> = {
    async publish(topic) {
      return published(topic, false)
    },
    async retain(topic) {
      return published(topic, true)
    },
    async subscribe(topic) {
      const client = await connect()
      client.on('error', () => {})
      const granted = await client.subscribeAsync(topic, { qos: 1 }).then(
        (grants) => grants.every(({ qos }) => qos < 128),
        () => false,
      )
      await client.endAsync(true)
      return granted
    },
    will: (topic) => willed(topic, false),
    'retained will': (topic) => willed(topic, true),
  }
  const published = async (topic: string, retain: boolean): Promise<boolean> => {
    const client = await connect()
    client.on('error', () => {})
    const acknowledged = new Promise<boolean>((resolve) => {
      client.once('close', () => resolve(false))
      client.publishAsync(topic, '{"t":1}', { qos: 1, retain }).then(
        () => resolve(true),
        () => resolve(false),
      )
    })
    const result = await acknowledged
    await client.endAsync(true)
    return result
  }
  const willed = (topic: string, retain: boolean): Promise<boolean> =>
    connect({ will: { topic, payload: Buffer.from('{}'), qos: 1, retain } }).then(
      async (client) => {
        // The client disconnects properly, so that the broker does not publish an allowed will.
        await client.endAsync()
        return true
      },
      () => false,
    )

  const rows: string[] = []
  afterAll(() => {
    const head = `${'topic'.padEnd(48)} ${'whose'.padEnd(8)}${Object.keys(attempts)
      .map((name) => name.padEnd(15))
      .join('')}`
    process.stdout.write(`\n${[head, ...rows].join('\n')}\n`)
  })

  describe.each(Object.entries(groups))('%s topics', (group, topics) => {
    it.each(topics)('%s', async (template) => {
      const topic = template.replace('OWN', String(own.id)).replace('OTHER', String(other.id))
      const got: Record<string, boolean> = {}
      const wanted: Record<string, boolean> = {}
      for (const [name, attempt] of Object.entries(attempts)) {
        if (name !== 'subscribe' && !isName(template)) continue
        got[name] = await attempt(topic)
        wanted[name] = allowed[name]?.includes(template) === true
      }
      const shown = (name: string) => (name in got ? (got[name] ? 'yes' : 'no') : '-').padEnd(15)
      rows.push(`${template.padEnd(48)} ${group.padEnd(8)}${Object.keys(attempts).map(shown).join('')}`)
      expect(got).toEqual(wanted)
    })
  })
})
