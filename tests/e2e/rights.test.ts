import { createClient } from '@libsql/client'
import { connectAsync, type IClientOptions } from 'mqtt'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Operation, operations, type Who } from '../../local/api.ts'
import { type Door, doors } from '../support/doors.ts'
import { temporaryFolder } from '../support/temporary.ts'

const enrollmentKey = 'enrolment-key-of-the-tests'
const wrongKey = 'A'.repeat(32)

let door: Door
let made = 0
let dataDir = ''
let endFolder = async () => {}
beforeAll(async () => {
  const folder = await temporaryFolder()
  dataDir = folder.path
  endFolder = folder.remove
  door = await doors['npm start']({
    DATA_DIR: dataDir,
    ENROLLMENT_KEY: enrollmentKey,
    OPEN_REGISTRATION: 'false',
    PUBLIC_TELEMETRY_READS: 'false',
  })
})
afterAll(async () => {
  await door.stop()
  await endFolder()
})

const call = (method: string, path: string, headers: Record<string, string>, body?: unknown) =>
  fetch(`${door.httpUrl}${path}`, {
    method,
    headers: { ...headers, ...(body === undefined ? {} : { 'Content-Type': 'application/json' }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
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
const admin = () => ({ Authorization: `Bearer ${door.adminToken}` })
const setStatus = (id: number, status: string) =>
  call('PUT', `/api/v1/admin/devices/${id}/status`, admin(), { status })

/** A message of this device that could not be stored. @returns its id. */
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

/** Each makes its own devices, so that no answer depends on what another caller did. */
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
const rights: Record<Who, Record<string, Expected>> = {
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

const expectedOf = ({ who, path }: Operation, caller: string): Expected | undefined =>
  // A device that names another one in the path finds nothing there.
  who === 'device' && caller === "other's key" && path.includes('{id}') ? 404 : rights[who][caller]

const bodyOf = ({ body }: Operation): unknown => {
  const example = Object.values(body?.examples ?? {})[0]
  // Names are taken once.
  if (typeof example === 'object' && example !== null && 'name' in example) {
    made += 1
    return { ...example, name: `example ${made}` }
  }
  return example
}

describe('over HTTP', () => {
  const names = Object.keys(callers)
  const rows: string[] = []
  afterAll(() => {
    const head = `${'route'.padEnd(52)} ${'who'.padEnd(7)} ${names.map((name) => name.padEnd(12)).join('')}`
    process.stdout.write(`\n${[head, ...rows].join('\n')}\n`)
  })

  it.each(operations.map((operation) => [`${operation.method} ${operation.path}`, operation] as const))(
    '%s lets in whom it should, and nobody else',
    async (name, operation) => {
      const answers: Record<string, Expected | number> = {}
      for (const [caller, become] of Object.entries(callers)) {
        const target = await register()
        const reading = await call('POST', '/api/v1/devices/telemetry', { 'X-API-Key': target.key }, { t: 1 })
        expect(reading.status).toBe(201)
        const headers = await become(target)
        const named = operation.path.includes('dead-letters/') ? await deadLetter(target.id) : target.id
        const path = operation.path.replace('{id}', String(named))
        const { status } = await call(operation.method, path, headers, bodyOf(operation))
        answers[caller] = status >= 200 && status < 300 ? 'ok' : status
      }
      rows.push(
        `${name.padEnd(52)} ${operation.who.padEnd(7)} ${names.map((caller) => String(answers[caller]).padEnd(12)).join('')}`,
      )
      expect(answers).toEqual(
        Object.fromEntries(names.map((caller) => [caller, expectedOf(operation, caller)])),
      )
    },
  )
})

describe('over MQTT', () => {
  const deviceTopics = [
    'telemetry',
    'telemetry/sensors',
    'status/online',
    'status/offline',
    'status/heartbeat',
    'status/other',
    'commands',
    'commands/response',
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
  const mayRetain = ['status/online', 'status/offline', 'status/heartbeat'].map(mine)
  const mayPublish = [
    ...mayRetain,
    ...['telemetry', 'telemetry/sensors', 'commands/response', 'config/reported'].map(mine),
  ]
  const maySubscribe = [...['commands', 'commands/#', 'config'].map(mine), 'iotflow/fleet/notices/#']
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
    return connectAsync(door.mqttUrl, {
      protocolVersion: 4,
      reconnectPeriod: 0,
      clientId: `${own.id}-${made}`,
      username: String(own.id),
      password: own.key,
      ...options,
    })
  }

  /** The library refuses some topics by itself; a broken device would not. */
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
        // An orderly end: a will that is allowed is not published either.
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
