import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { connect as connectTcp, createServer, type Server, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt'
import { generate, type Packet, parser } from 'mqtt-packet'
import { afterEach, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import type { AuthorizerEvent, AuthorizerResult } from '../../lib/mqtt/authorizer.ts'
import { devicePolicies } from '../../lib/mqtt/policy.ts'
import { topicMatcher } from '../../lib/mqtt/topics.ts'
import { type Broker, type BrokerLimits, type BrokerOptions, startBroker } from '../../local/broker.ts'
import { makeCertificate } from '../../local/certificates.ts'
import { loadRules, type Rule } from '../../local/rules.ts'
import { describeWith } from '../support/backends.ts'
import { temporaryFolder } from '../support/temporary.ts'

const host = '127.0.0.1'
const keyOf = (id: number) => `secret-key-of-${id}`
const marker = 'payload-nobody-may-log'
const telemetry = (id: number) => `iotflow/devices/${id}/telemetry`

const denied: AuthorizerResult = {
  isAuthenticated: false,
  principalId: 'nobody',
  disconnectAfterInSeconds: 300,
  refreshAfterInSeconds: 300,
  policyDocuments: [],
}

/** Devices 1–99, each with its own key. */
const authorize = async ({ protocolData }: AuthorizerEvent): Promise<AuthorizerResult> => {
  const { username, password } = protocolData?.mqtt ?? {}
  const id = Number(username)
  const known = id >= 1 && id < 100 && Buffer.from(password ?? '', 'base64').toString() === keyOf(id)
  if (!known) return denied
  return {
    ...denied,
    isAuthenticated: true,
    principalId: String(id),
    disconnectAfterInSeconds: 86_400,
    policyDocuments: devicePolicies(id),
  }
}

const everyRule = await loadRules(fileURLToPath(new URL('../../iot-rules/', import.meta.url)))
const projectRules = everyRule.filter(({ name }) => name === 'telemetry_ingest')
const lifecycleRules = everyRule.filter(({ name }) => name === 'presence_lifecycle')
const statusRule: Rule = {
  name: 'status',
  functionName: 'status',
  filter: 'iotflow/devices/+/status/#',
  matches: topicMatcher('iotflow/devices/+/status/#'),
  event: ({ topic, payload }) => ({ topic, payload: Buffer.from(payload).toString() }),
}

interface Call {
  functionName: string
  event: Record<string, unknown>
  resolve(): void
  reject(error: unknown): void
}

interface Setup {
  broker: Broker
  calls: Call[]
  lines: unknown[]
}

const ends: (() => unknown)[] = []
const allLines: unknown[] = []

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
  const text = JSON.stringify(allLines.splice(0))
  expect(text).not.toContain('secret-key')
  expect(text).not.toContain(Buffer.from('secret-key-of').toString('base64').slice(0, 12))
  expect(text).not.toContain(marker)
})

type Start = Partial<Omit<BrokerOptions, 'limits'>> & { limits?: Partial<BrokerLimits>; hold?: boolean }

/** A broker whose invokes are noted, and with `hold` left open until the test ends them. */
const start = async ({ hold = false, ...options }: Start = {}): Promise<Setup> => {
  const calls: Call[] = []
  const lines: unknown[] = []
  let messages = 0
  const broker = await startBroker({
    host,
    port: 0,
    wsPort: 'none',
    authorize,
    rules: projectRules,
    nextMessageId: () => `m${++messages}`,
    invoke: (functionName, event) =>
      new Promise((resolve, reject) => {
        calls.push({ functionName, event, resolve, reject })
        if (!hold) resolve()
      }),
    log: (level, msg, fields) => {
      const errors = Object.values(fields ?? {}).filter((value) => value instanceof Error)
      const line = { level, msg, ...fields, errors: errors.map(({ message }) => message) }
      lines.push(line)
      allLines.push(line)
    },
    ...options,
  })
  ends.push(async () => {
    for (const { resolve } of calls) resolve()
    await broker.close()
  })
  return { broker, calls, lines }
}

const until = async (reached: () => boolean, what: string, ms = 5000) => {
  const deadline = Date.now() + ms
  while (!reached()) {
    if (Date.now() > deadline) throw new Error(`not reached: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}
/** Time in which something that must not happen would have happened. */
const aWhile = (ms = 60) => new Promise((resolve) => setTimeout(resolve, ms))

const connectPacket = (id: number, more: object = {}) =>
  generate({
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 4,
    clean: true,
    clientId: `${id}`,
    keepalive: 0,
    username: `${id}`,
    password: Buffer.from(keyOf(id)),
    ...more,
  })
const publishPacket = (topic: string, payload: string | Buffer, messageId = 0, more: object = {}) =>
  generate({
    cmd: 'publish',
    topic,
    payload,
    qos: messageId > 0 ? 1 : 0,
    retain: false,
    dup: false,
    ...(messageId > 0 ? { messageId } : {}),
    ...more,
  })
const subscribePacket = (...filters: (string | [string, 0 | 1 | 2])[]) =>
  generate({
    cmd: 'subscribe',
    messageId: 77,
    subscriptions: filters.map((filter) =>
      typeof filter === 'string' ? { topic: filter, qos: 1 } : { topic: filter[0], qos: filter[1] },
    ),
  })

/** A client by hand, that sends bytes and notes the packets it gets. */
const rawClient = async (port: number | undefined) => {
  const socket = connectTcp(port ?? 0, host)
  const packets: Packet[] = []
  const reader = parser({ protocolVersion: 4 })
  reader.on('packet', (packet) => packets.push(packet))
  let closed = false
  socket.on('data', (chunk) => reader.parse(chunk))
  socket.on('error', () => {})
  socket.on('close', () => {
    closed = true
  })
  ends.push(() => socket.destroy())
  await new Promise<void>((resolve) => {
    socket.once('connect', () => resolve())
    socket.once('close', () => resolve())
  })
  const of = (cmd: string) =>
    packets.filter((packet) => packet.cmd === cmd) as (Packet & Record<string, unknown>)[]
  return {
    socket,
    packets,
    of,
    send: (...parts: Buffer[]) => socket.write(Buffer.concat(parts)),
    got: (cmd: string, count = 1) => until(() => of(cmd).length >= count, `${count} ${cmd}`),
    isClosed: () => closed,
    closes: (ms?: number) => until(() => closed, 'the connection ends', ms),
  }
}

/** A raw client that is connected as a device. */
const rawDevice = async (setup: Setup, id: number, more: object = {}) => {
  const client = await rawClient(setup.broker.port)
  client.send(connectPacket(id, more))
  await client.got('connack')
  expect(client.of('connack')[0]).toMatchObject({ returnCode: 0 })
  return client
}

const answerTo = async (setup: Setup, packet: Buffer): Promise<number> => {
  const client = await rawClient(setup.broker.port)
  client.send(packet)
  await client.got('connack')
  const code = client.of('connack')[0]?.returnCode as number
  if (code !== 0) await client.closes()
  client.socket.destroy()
  return code
}

const device = async (setup: Setup, id: number, more: IClientOptions = {}): Promise<MqttClient> => {
  const client = await connectAsync(`mqtt://${host}:${setup.broker.port}`, {
    protocolVersion: 4,
    reconnectPeriod: 0,
    clientId: `${id}`,
    username: `${id}`,
    password: keyOf(id),
    ...more,
  })
  client.on('error', () => {})
  ends.push(() => client.endAsync(true))
  return client
}

const inbox = (client: MqttClient) => {
  const messages: string[] = []
  client.on('message', (topic, payload) => messages.push(`${topic} ${payload}`))
  return messages
}

describe('a publish', () => {
  test('is acknowledged after its function has taken it, not before', async () => {
    const setup = await start({ hold: true })
    const client = await rawDevice(setup, 5)
    client.send(publishPacket(telemetry(5), '{"a":1}', 9))
    await until(() => setup.calls.length === 1, 'the invoke')
    await aWhile()
    expect(client.of('puback')).toEqual([])
    setup.calls[0]?.resolve()
    await client.got('puback')
    expect(client.of('puback')[0]).toMatchObject({ messageId: 9 })
  })

  test('reaches the function of its rule, with time and id fixed on arrival', async () => {
    const setup = await start()
    const client = await device(setup, 5, { clientId: '5-x' })
    const before = Date.now()
    await client.publishAsync(`${telemetry(5)}/sensors`, Buffer.from([0xff, 0]), { qos: 1 })
    expect(setup.calls).toHaveLength(1)
    expect(setup.calls[0]?.functionName).toBe('telemetry-ingest')
    const { received_at: receivedAt, ...rest } = setup.calls[0]?.event ?? {}
    expect(rest).toEqual({
      payload: '/wA=',
      topic: `${telemetry(5)}/sensors`,
      client_id: '5-x',
      message_id: 'm1',
    })
    expect(receivedAt).toBeGreaterThanOrEqual(before)
    expect(receivedAt).toBeLessThanOrEqual(Date.now())
  })

  test('that no rule wants is acknowledged all the same', async () => {
    const setup = await start()
    const client = await device(setup, 5)
    await client.publishAsync('iotflow/devices/5/commands/response', '{}', { qos: 1 })
    expect(setup.calls).toEqual([])
  })

  test('that comes after another is acknowledged after it', async () => {
    const setup = await start({ hold: true })
    const client = await rawDevice(setup, 5)
    client.send(publishPacket(telemetry(5), '1', 1), publishPacket(telemetry(5), '2', 2))
    await until(() => setup.calls.length === 2, 'both invokes')
    setup.calls[1]?.resolve()
    await aWhile()
    expect(client.of('puback')).toEqual([])
    setup.calls[0]?.resolve()
    await client.got('puback', 2)
    expect(client.of('puback').map(({ messageId }) => messageId)).toEqual([1, 2])
  })

  test('that could not be stored is not acknowledged, and the connection ends', async () => {
    const setup = await start({ hold: true })
    const client = await rawDevice(setup, 5)
    client.send(publishPacket(telemetry(5), marker, 1))
    await until(() => setup.calls.length === 1, 'the invoke')
    setup.calls[0]?.reject(new Error('disk full'))
    await client.closes()
    expect(client.of('puback')).toEqual([])
    const again = await rawDevice(setup, 5)
    again.send(publishPacket(telemetry(5), marker, 1, { dup: true }))
    await until(() => setup.calls.length === 2, 'the second invoke')
    setup.calls[1]?.resolve()
    await again.got('puback')
  })

  test('whose function throws ends the connection and nothing else', async () => {
    let throwing = true
    const setup = await start({
      invoke: () => {
        if (throwing) throw new Error('broken')
        return Promise.resolve()
      },
    })
    const client = await rawDevice(setup, 5)
    const other = await rawDevice(setup, 6)
    client.send(publishPacket(telemetry(5), '1', 1))
    await client.closes()
    throwing = false
    other.send(publishPacket(telemetry(6), '1', 1))
    await other.got('puback')
  })

  test('whose function never answers is not acknowledged: its connection ends, its place is free again', async () => {
    const setup = await start({ hold: true, limits: { invokeTimeoutMs: 200, maxHeld: 1 } })
    const client = await rawDevice(setup, 5)
    client.send(publishPacket(telemetry(5), '1', 1))
    await until(() => setup.calls.length === 1, 'the invoke')
    await client.closes()
    expect(client.of('puback')).toEqual([])
    const other = await rawDevice(setup, 6)
    other.send(publishPacket(telemetry(6), '1', 1))
    await until(() => setup.calls.length === 2, 'the second invoke')
    setup.calls[0]?.resolve()
    setup.calls[1]?.resolve()
    await other.got('puback')
  })

  test.each([
    ['to the topic of another device', publishPacket(telemetry(6), '1', 1)],
    ['to its own commands', publishPacket('iotflow/devices/5/commands', '1', 1)],
    ['to a fleet notice', publishPacket('iotflow/fleet/notices/a', '1', 1)],
    ['to $SYS', publishPacket('$SYS/x', '1', 1)],
    ['to $aws', publishPacket('$aws/things/5/shadow/update', '1', 1)],
    ['of retained telemetry', publishPacket(telemetry(5), '1', 1, { retain: true })],
    ['with QoS 2', publishPacket(telemetry(5), '1', 1, { qos: 2 })],
    ['to a topic with NUL', publishPacket(`${telemetry(5)}/a\0`, '1', 1)],
    [
      'without a packet id',
      Buffer.concat([Buffer.from([0x32, 29, 0, 27]), Buffer.from(telemetry(5).padEnd(27, '/'))]),
    ],
  ])('%s ends the connection unseen', async (_what, packet) => {
    const setup = await start()
    const client = await rawDevice(setup, 5)
    client.send(packet)
    await client.closes()
    expect(client.packets.map(({ cmd }) => cmd)).toEqual(['connack'])
    expect(setup.calls).toEqual([])
  })

  test('of 128 KiB passes, a larger one ends the connection', async () => {
    const setup = await start()
    const client = await rawDevice(setup, 5)
    client.send(publishPacket(telemetry(5), Buffer.alloc(128 * 1024), 1))
    await client.got('puback')
    client.send(publishPacket(telemetry(5), Buffer.alloc(128 * 1024 + 1), 2))
    await client.closes()
    const another = await rawDevice(setup, 5)
    another.send(publishPacket(telemetry(5), Buffer.alloc(200 * 1024), 3))
    await another.closes()
    expect(setup.calls).toHaveLength(1)
  })
})

/** The codec refuses to build it: byte 9 holds the flags, 2 is clean session. */
const sessionWithoutId = connectPacket(5, { clientId: '' })
sessionWithoutId[9] = (sessionWithoutId[9] ?? 0) & ~2

describe('CONNECT', () => {
  test.each(['5', '5-a', '5_a', 'iotflow-device-5', 'iotflow-device-5-x', 'device_5', ''])(
    'with the client id %j is accepted',
    async (clientId) => {
      const setup = await start()
      const client = await rawDevice(setup, 5, { clientId })
      client.send(publishPacket(telemetry(5), '1', 1))
      await client.got('puback')
    },
  )

  test('an empty client id is replaced by one of the device', async () => {
    const setup = await start()
    const one = await rawDevice(setup, 5, { clientId: '' })
    const two = await rawDevice(setup, 5, { clientId: '' })
    one.send(publishPacket(telemetry(5), '1', 1))
    two.send(publishPacket(telemetry(5), '1', 1))
    await one.got('puback')
    await two.got('puback')
    const ids = setup.calls.map(({ event }) => event.client_id)
    expect(ids[0]).toMatch(/^5-\w{16,}$/)
    expect(ids[1]).toMatch(/^5-\w{16,}$/)
    expect(ids[0]).not.toBe(ids[1])
  })

  test.each<[string, Buffer, number]>([
    ["another device's client id", connectPacket(5, { clientId: '6' }), 5],
    ['a client id that only begins like its own', connectPacket(5, { clientId: '55' }), 5],
    ['any client id', connectPacket(5, { clientId: 'sensor' }), 5],
    ['an empty client id and a session', sessionWithoutId, 2],
    ['a client id without end', connectPacket(5, { clientId: `5-${'x'.repeat(127)}` }), 2],
    ['a wrong key', connectPacket(5, { password: Buffer.from('wrong') }), 4],
    ["another device's key", connectPacket(5, { password: Buffer.from(keyOf(6)) }), 4],
    ['no key', connectPacket(5, { password: undefined }), 4],
    ['no name', connectPacket(5, { username: undefined, password: undefined }), 4],
    ['MQTT 5', connectPacket(5, { protocolVersion: 5 }), 1],
    ['MQTT 3.1', connectPacket(5, { protocolId: 'MQIsdp', protocolVersion: 3 }), 0],
    ['a session', connectPacket(5, { clean: false }), 0],
  ])('with %s', async (_what, packet, code) => {
    expect(await answerTo(await start(), packet)).toBe(code)
  })

  test.each<[string, object, number]>([
    ['its status', { topic: 'iotflow/devices/5/status/offline' }, 0],
    ['its status, retained', { topic: 'iotflow/devices/5/status/offline', retain: true }, 0],
    ['its telemetry', { topic: telemetry(5) }, 0],
    ['its telemetry, retained', { topic: telemetry(5), retain: true }, 5],
    ["another's status", { topic: 'iotflow/devices/6/status/offline' }, 5],
    ["another's status, retained", { topic: 'iotflow/devices/6/status/offline', retain: true }, 5],
    ['its commands', { topic: 'iotflow/devices/5/commands' }, 5],
    ['$SYS', { topic: '$SYS/x' }, 5],
    ['a wildcard', { topic: `${telemetry(5)}/#` }, 5],
    ['its status with QoS 2', { topic: 'iotflow/devices/5/status/offline', qos: 2 }, 5],
  ])('with a will on %s', async (_what, will, code) => {
    const packet = connectPacket(5, { will: { payload: Buffer.from('x'), qos: 0, retain: false, ...will } })
    expect(await answerTo(await start(), packet)).toBe(code)
  })

  test('is told when the authorizer fails, and the broker goes on', async () => {
    let failing = true
    const setup = await start({
      authorize: (event) => {
        if (failing) throw new Error(keyOf(5).slice(0, 3))
        return authorize(event)
      },
    })
    expect(await answerTo(setup, connectPacket(5))).toBe(3)
    failing = false
    expect(await answerTo(setup, connectPacket(5))).toBe(0)
  })

  test('an answer without policies lets nobody in, wrong ones refuse', async () => {
    const answer = { ...denied, isAuthenticated: true, principalId: '5' }
    const none = await start({ authorize: async () => answer })
    expect(await answerTo(none, connectPacket(5))).toBe(5)
    const broken = await start({ authorize: async () => ({ ...answer, policyDocuments: ['{'] }) })
    expect(await answerTo(broken, connectPacket(5))).toBe(5)
    const nothing = await start({ authorize: async () => undefined as unknown as AuthorizerResult })
    expect(await answerTo(nothing, connectPacket(5))).toBe(4)
  })

  test('may be followed by more at once; that waits until the client is let in', async () => {
    const setup = await start()
    const client = await rawClient(setup.broker.port)
    const publishes = Array.from({ length: 50 }, (_, index) => publishPacket(telemetry(5), '1', index + 1))
    client.send(connectPacket(5), subscribePacket('iotflow/devices/5/config'), ...publishes)
    await client.got('puback', 50)
    await client.got('suback')
    expect(client.packets[0]?.cmd).toBe('connack')
  })

  test('ends after the time the authorizer gave', async () => {
    const setup = await start({
      authorize: async (event) => ({ ...(await authorize(event)), disconnectAfterInSeconds: 0.8 }),
      limits: { connectTimeoutMs: 400 },
    })
    const client = await rawDevice(setup, 5)
    await aWhile(100)
    expect(client.isClosed()).toBe(false)
    await client.closes()
  })
})

describe('a will', () => {
  const will = {
    topic: 'iotflow/devices/5/status/offline',
    payload: Buffer.from('gone'),
    qos: 1,
    retain: true,
  }

  test('goes through the rules when the client vanishes, and not after a DISCONNECT', async () => {
    const setup = await start({ rules: [statusRule] })
    const orderly = await rawDevice(setup, 5, { will })
    orderly.send(generate({ cmd: 'disconnect' }))
    await orderly.closes()
    await aWhile()
    expect(setup.calls).toEqual([])
    const vanishing = await rawDevice(setup, 5, { will })
    vanishing.socket.destroy()
    await until(() => setup.calls.length === 1, 'the will')
    expect(setup.calls[0]?.event).toEqual({ topic: will.topic, payload: 'gone' })
  })

  test('is published when the broker ends the connection of a device', async () => {
    const setup = await start({ rules: [statusRule] })
    await rawDevice(setup, 5, { will })
    await setup.broker.disconnect('5', { cleanSession: false, preventWill: false })
    await until(() => setup.calls.length === 1, 'the will')
  })

  test('is not published when whoever ends the connection prevents it', async () => {
    const setup = await start({ rules: [statusRule] })
    const device = await rawDevice(setup, 5, { will })
    await setup.broker.disconnect('5', { cleanSession: true, preventWill: true })
    await device.closes()
    await aWhile()
    expect(setup.calls).toEqual([])
  })
})

describe('SUBSCRIBE', () => {
  const grantedFor = async (...filters: (string | [string, 0 | 1 | 2])[]) => {
    const setup = await start()
    const client = await rawDevice(setup, 5)
    client.send(subscribePacket(...filters))
    await client.got('suback')
    return client.of('suback')[0]?.granted
  }

  test('is granted for its own topics, with QoS 1 at most', async () => {
    const own = 'iotflow/devices/5'
    expect(
      await grantedFor(
        [`${own}/commands`, 0],
        [`${own}/commands/#`, 1],
        [`${own}/config`, 2],
        ['iotflow/fleet/notices/#', 2],
      ),
    ).toEqual([0, 1, 1, 1])
  })

  test('is refused filter by filter', async () => {
    const refused = [
      '#',
      '+/#',
      '+/devices/5/commands',
      'iotflow/devices/+/commands',
      'iotflow/devices/6/commands',
    ]
    refused.push('$share/g/iotflow/devices/5/commands', '$SYS/#', '$aws/#', 'iotflow/fleet/#', telemetry(5))
    expect(await grantedFor('iotflow/devices/5/commands', ...refused, 'iotflow/devices/5/config')).toEqual([
      1,
      ...refused.map(() => 128),
      1,
    ])
  })

  test('with QoS 2 does not bring packets of QoS 2', async () => {
    const setup = await start()
    const client = await rawDevice(setup, 5)
    client.send(subscribePacket(['iotflow/devices/5/commands/#', 2]))
    await client.got('suback')
    await setup.broker.publish({ topic: 'iotflow/devices/5/commands', payload: 'x', qos: 1, retain: false })
    await client.got('publish')
    expect(client.of('publish')[0]).toMatchObject({ qos: 1 })
  })

  test('that is refused leaves nothing in the session', async () => {
    const setup = await start()
    const client = await rawDevice(setup, 5, { clean: false })
    client.send(subscribePacket('iotflow/devices/5/commands', '#'))
    await client.got('suback')
    client.send(
      generate({ cmd: 'unsubscribe', messageId: 1, unsubscriptions: ['iotflow/devices/5/commands'] }),
    )
    await client.got('unsuback')
    client.send(generate({ cmd: 'disconnect' }))
    await client.closes()
    const back = await rawDevice(setup, 5, { clean: false })
    expect(back.of('connack')[0]).toMatchObject({ sessionPresent: false })
  })
})

describe('messages to devices', () => {
  test('reach those who may have them, and only those', async () => {
    const setup = await start()
    const five = await device(setup, 5)
    const six = await device(setup, 6)
    const [toFive, toSix] = [inbox(five), inbox(six)]
    for (const [client, id] of [
      [five, 5],
      [six, 6],
    ] as const) {
      await client.subscribeAsync([`iotflow/devices/${id}/commands`, 'iotflow/fleet/notices/#'], { qos: 1 })
    }
    await setup.broker.publish({ topic: 'iotflow/devices/5/commands', payload: 'a', qos: 1, retain: false })
    await setup.broker.publish({ topic: 'iotflow/fleet/notices/all', payload: 'b', qos: 0, retain: false })
    await until(() => toFive.length === 2 && toSix.length === 1, 'the messages')
    await aWhile()
    expect(toFive).toEqual(['iotflow/devices/5/commands a', 'iotflow/fleet/notices/all b'])
    expect(toSix).toEqual(['iotflow/fleet/notices/all b'])
  })

  test('are held back from a subscriber without the right to receive', async () => {
    const [connect, publish, subscribe] = devicePolicies(5)
    const [mayedSubscribe] = subscribe?.Statement ?? []
    const policyDocuments = [
      connect,
      publish,
      { Version: '2012-10-17', Statement: [mayedSubscribe] },
    ] as AuthorizerResult['policyDocuments']
    const setup = await start({
      authorize: async (event) => ({ ...(await authorize(event)), policyDocuments }),
    })
    const client = await rawDevice(setup, 5)
    client.send(subscribePacket('iotflow/devices/5/commands'))
    await client.got('suback')
    expect(client.of('suback')[0]).toMatchObject({ granted: [1] })
    await setup.broker.publish({ topic: 'iotflow/devices/5/commands', payload: 'a', qos: 1, retain: false })
    await aWhile()
    expect(client.of('publish')).toEqual([])
  })

  test.each([true, false])('arrive once where subscriptions overlap (clean session: %s)', async (clean) => {
    const setup = await start()
    const client = await rawDevice(setup, 5, { clean })
    client.send(subscribePacket('iotflow/devices/5/commands', 'iotflow/devices/5/commands/#'))
    await client.got('suback')
    for (const payload of ['a', 'b', 'c']) {
      await setup.broker.publish({ topic: 'iotflow/devices/5/commands', payload, qos: 1, retain: false })
    }
    await client.got('publish', 3)
    await aWhile()
    expect(client.of('publish').map(({ payload }) => String(payload))).toEqual(['a', 'b', 'c'])
    expect(client.isClosed()).toBe(false)
  })

  test('are not lost when they overtake each other inside the broker', async () => {
    const setup = await start()
    const client = await device(setup, 5)
    const got = inbox(client)
    await client.subscribeAsync(['iotflow/devices/5/commands', 'iotflow/devices/5/config'], { qos: 1 })
    await Promise.all([
      setup.broker.publish({ topic: 'iotflow/devices/5/config', payload: 'kept', qos: 1, retain: true }),
      setup.broker.publish({ topic: 'iotflow/devices/5/commands', payload: 'one', qos: 1, retain: false }),
      setup.broker.publish({ topic: 'iotflow/devices/5/commands', payload: 'zero', qos: 0, retain: false }),
    ])
    await until(() => got.length === 3, 'all three')
    expect(got.sort()).toEqual([
      'iotflow/devices/5/commands one',
      'iotflow/devices/5/commands zero',
      'iotflow/devices/5/config kept',
    ])
  })

  test('that are retained await the subscriber until they are cleared', async () => {
    const setup = await start()
    const config = 'iotflow/devices/5/config'
    await setup.broker.publish({ topic: config, payload: 'v1', qos: 1, retain: true })
    await setup.broker.publish({ topic: 'iotflow/devices/6/config', payload: 'no', qos: 1, retain: true })
    await setup.broker.publish({ topic: 'iotflow/fleet/notices/a', payload: 'n', qos: 0, retain: true })
    const client = await rawDevice(setup, 5)
    client.send(subscribePacket(config, 'iotflow/fleet/notices/#'))
    await client.got('publish', 2)
    await aWhile()
    expect(
      client.of('publish').map(({ topic, payload, retain }) => [topic, String(payload), retain]),
    ).toEqual([
      [config, 'v1', true],
      ['iotflow/fleet/notices/a', 'n', true],
    ])
    await setup.broker.publish({ topic: config, payload: '', qos: 1, retain: true })
    const later = await rawDevice(setup, 5, { clientId: '5-later' })
    later.send(subscribePacket(config))
    await later.got('suback')
    await aWhile()
    expect(later.of('publish')).toEqual([])
  })

  test('need a topic name and a broker that is open', async () => {
    const setup = await start()
    const message = { topic: 'iotflow/devices/+/commands', payload: 'x', qos: 1, retain: false } as const
    await expect(setup.broker.publish(message)).rejects.toThrow('topic name')
    await setup.broker.close()
    await expect(setup.broker.publish({ ...message, topic: 'a' })).rejects.toThrow('closed')
  })
})

describe('a session', () => {
  test('keeps what comes while its device is away', async () => {
    const setup = await start()
    const commands = 'iotflow/devices/5/commands'
    const client = await rawDevice(setup, 5, { clean: false })
    client.send(subscribePacket(commands))
    await client.got('suback')
    client.socket.destroy()
    await until(() => setup.broker.connected() === 0, 'the device is away')
    await setup.broker.publish({ topic: commands, payload: 'later', qos: 1, retain: false })
    const back = await rawDevice(setup, 5, { clean: false })
    await back.got('publish')
    expect(back.of('connack')[0]).toMatchObject({ sessionPresent: true })
    expect(String(back.of('publish')[0]?.payload)).toBe('later')
  })

  test('keeps what was not acknowledged, also where subscriptions overlap', async () => {
    const setup = await start()
    const commands = 'iotflow/devices/5/commands'
    const client = await rawDevice(setup, 5, { clean: false })
    client.send(subscribePacket(commands, `${commands}/#`))
    await client.got('suback')
    for (const payload of ['a', 'b']) {
      await setup.broker.publish({ topic: commands, payload, qos: 1, retain: false })
    }
    await client.got('publish', 2)
    client.send(generate({ cmd: 'puback', messageId: client.of('publish')[0]?.messageId as number }))
    client.send(Buffer.from([0xc0, 0]))
    await client.got('pingresp')
    client.socket.destroy()
    await until(() => setup.broker.connected() === 0, 'the device is away')
    const back = await rawDevice(setup, 5, { clean: false })
    await back.got('publish')
    await aWhile()
    expect(back.of('publish').map(({ payload }) => String(payload))).toEqual(['b'])
  })

  test('belongs to who began it, connected or not', async () => {
    const anyId = {
      Version: '2012-10-17',
      Statement: [
        {
          Effect: 'Allow',
          Action: 'iot:*',
          Resource: '*',
          Condition: { 'ForAllValues:StringEquals': { 'iot:ConnectAttributes': ['PersistentConnect'] } },
        },
      ],
    } as const
    const setup = await start({
      authorize: async (event) => ({ ...(await authorize(event)), policyDocuments: [anyId] }),
    })
    const client = await rawDevice(setup, 5, { clientId: 'shared', clean: false })
    const intruder = { clientId: 'shared' }
    expect(await answerTo(setup, connectPacket(6, intruder))).toBe(5)
    expect(client.isClosed()).toBe(false)
    client.socket.destroy()
    await until(() => setup.broker.connected() === 0, 'the device is away')
    expect(await answerTo(setup, connectPacket(6, { ...intruder, clean: false }))).toBe(5)
    expect(await answerTo(setup, connectPacket(6, intruder))).toBe(5)
    expect(await answerTo(setup, connectPacket(5, intruder))).toBe(0)
    expect(await answerTo(setup, connectPacket(6, intruder))).toBe(0)
  })

  test('is one of sixteen at most; the oldest that is away is forgotten', async () => {
    const setup = await start()
    const names = Array.from({ length: 17 }, (_, index) => `5-${index}`)
    for (const clientId of names) {
      const client = await rawDevice(setup, 5, { clientId, clean: false })
      client.send(subscribePacket('iotflow/devices/5/commands'))
      await client.got('suback')
      client.socket.destroy()
      await until(() => setup.broker.connected() === 0, 'the device is away')
    }
    const newest = await rawDevice(setup, 5, { clientId: '5-16', clean: false })
    expect(newest.of('connack')[0]).toMatchObject({ sessionPresent: true })
    const oldest = await rawDevice(setup, 5, { clientId: '5-0', clean: false })
    expect(oldest.of('connack')[0]).toMatchObject({ sessionPresent: false })
  })
})

describe('presence', () => {
  const lifecycleOf = (setup: Setup) =>
    setup.calls.map(({ functionName, event }) => {
      expect(functionName).toBe('mqtt-presence')
      const payload = JSON.parse(Buffer.from(String(event.payload), 'base64').toString()) as {
        clientId: string
        eventType: string
        sessionIdentifier: string
        versionNumber: number
        disconnectReason?: string
      }
      expect(event.topic).toBe(`$aws/events/presence/${payload.eventType}/${payload.clientId}`)
      return payload
    })

  test('tells of each connection, of its end with why, and of traffic', async () => {
    const traffic: string[] = []
    const setup = await start({
      rules: lifecycleRules,
      onTraffic: (id) => {
        traffic.push(id)
        throw new Error('a hook may fail')
      },
    })
    const one = await rawDevice(setup, 5)
    const two = await rawDevice(setup, 5, { clientId: '5-b' })
    expect(setup.broker.connected()).toBe(2)
    expect(traffic).toEqual([])
    one.send(Buffer.from([0xc0, 0]))
    await one.got('pingresp')
    expect(traffic).toEqual(['5'])
    one.socket.destroy()
    await until(() => setup.calls.length === 3, 'one has gone')
    expect(await setup.broker.disconnect('5-b', { cleanSession: true, preventWill: true })).toBe(true)
    await two.closes()
    const three = await rawDevice(setup, 5, { clientId: '5-c' })
    three.send(generate({ cmd: 'disconnect' }))
    await until(() => setup.calls.length === 6, 'all ends')
    expect(await setup.broker.disconnect('5-b', { cleanSession: true, preventWill: true })).toBe(false)
    expect(await answerTo(setup, connectPacket(5, { password: Buffer.from('no') }))).toBe(4)
    const events = lifecycleOf(setup)
    expect(
      events.map(({ clientId, eventType, disconnectReason }) => [clientId, eventType, disconnectReason]),
    ).toEqual([
      ['5', 'connected', undefined],
      ['5-b', 'connected', undefined],
      ['5', 'disconnected', 'CONNECTION_LOST'],
      ['5-b', 'disconnected', 'API_INITIATED_DISCONNECT'],
      ['5-c', 'connected', undefined],
      ['5-c', 'disconnected', 'CLIENT_INITIATED_DISCONNECT'],
    ])
    const [first, second, ended] = events
    expect(ended?.sessionIdentifier).toBe(first?.sessionIdentifier)
    expect(ended?.versionNumber).toBe(first?.versionNumber)
    expect(second?.sessionIdentifier).not.toBe(first?.sessionIdentifier)
    expect(second?.versionNumber).toBeGreaterThan(first?.versionNumber ?? 0)
  })

  test('tells an event again when it was not taken', async () => {
    const calls: string[] = []
    await rawDevice(
      await start({
        rules: lifecycleRules,
        invoke: async (_name, event) => {
          calls.push(String(event.topic))
          if (calls.length < 3) throw new Error('not now')
        },
      }),
      5,
    )
    await until(() => calls.length === 3, 'the third try')
    expect(new Set(calls)).toEqual(new Set(['$aws/events/presence/connected/5']))
  })

  test('asks again for the rights of an open connection, and ends it when they have gone', async () => {
    let letIn = true
    const setup = await start({
      authorize: async (event) => {
        const result = await authorize(event)
        return { ...(letIn ? result : denied), refreshAfterInSeconds: 0.05 }
      },
    })
    const device = await rawDevice(setup, 5)
    await aWhile(1200)
    expect(setup.broker.connected()).toBe(1)
    letIn = false
    await device.closes()
  })

  test('a second connection of one client id ends the first', async () => {
    const setup = await start()
    const one = await rawDevice(setup, 5)
    await rawDevice(setup, 5)
    await one.closes()
    expect(setup.broker.connected()).toBe(1)
  })

  test('a device that comes back before its old connection is cleared away stays known', async () => {
    const setup = await start()
    let last = await rawDevice(setup, 5)
    for (let round = 0; round < 20; round++) {
      const next = await rawClient(setup.broker.port)
      // A connection with subscriptions takes a turn longer to clear away.
      last.send(subscribePacket('iotflow/devices/5/commands', 'iotflow/devices/5/config'))
      await last.got('suback')
      next.send(connectPacket(5))
      last.socket.destroy()
      await next.got('connack')
      last = next
    }
    await aWhile()
    expect(last.isClosed()).toBe(false)
    await rawDevice(setup, 5)
    await last.closes()
    await until(() => setup.broker.connected() === 1, 'one is left')
  })
})

describe('what a client may cost', () => {
  test.each([
    ['nothing', Buffer.alloc(0)],
    ['half a CONNECT', connectPacket(5).subarray(0, 10)],
  ])('%s and silence: the connection ends', async (_what, bytes) => {
    const setup = await start({ limits: { connectTimeoutMs: 500 } })
    const client = await rawClient(setup.broker.port)
    client.send(bytes)
    await aWhile(50)
    expect(client.isClosed()).toBe(false)
    await client.closes()
    expect(client.packets).toEqual([])
  })

  test('half a packet after CONNECT ends the connection, silence between packets does not', async () => {
    const setup = await start({ limits: { packetTimeoutMs: 150 } })
    const silent = await rawDevice(setup, 5)
    const half = await rawDevice(setup, 6)
    half.send(publishPacket(telemetry(6), 'x'.repeat(100), 1).subarray(0, 50))
    await half.closes(2000)
    await aWhile(200)
    silent.send(publishPacket(telemetry(5), '1', 1))
    await silent.got('puback')
    expect(setup.calls).toHaveLength(1)
  })

  /** Sends until the connection ends or `bytes` are gone, and tells how many the system took. */
  const stream = async (socket: Socket, first: Buffer, bytes: number): Promise<number> => {
    const chunk = Buffer.alloc(65_536)
    let sent = 0
    socket.write(first)
    while (sent < bytes && !socket.destroyed && socket.writable) {
      sent += chunk.length
      if (!socket.write(chunk))
        await Promise.race([new Promise((resolve) => socket.once('drain', resolve)), aWhile(500)])
    }
    return sent
  }

  test('256 MB are refused at their header, before and after CONNECT, and take no memory', async () => {
    const setup = await start()
    const huge = (type: number) => Buffer.from([type, 0x80, 0x80, 0x80, 0x80 - 1])
    const before = process.memoryUsage().rss
    const client = await rawClient(setup.broker.port)
    expect(await stream(client.socket, huge(0x10), 256 * 1024 * 1024)).toBeLessThan(32 * 1024 * 1024)
    await client.closes()
    const known = await rawDevice(setup, 5)
    expect(await stream(known.socket, huge(0x30), 256 * 1024 * 1024)).toBeLessThan(32 * 1024 * 1024)
    await known.closes()
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 1024 * 1024)
  })

  test('4 KB before authentication, no more', async () => {
    const setup = await start()
    expect(await answerTo(setup, connectPacket(5, { clientId: `5-${'x'.repeat(3900)}` }))).toBe(2)
    const client = await rawClient(setup.broker.port)
    client.send(connectPacket(5, { clientId: `5-${'x'.repeat(4096)}` }))
    await client.closes()
    expect(client.packets).toEqual([])
  })

  test('2,000 silent connections end in time, and a good client works meanwhile', async () => {
    const setup = await start({ limits: { connectTimeoutMs: 1500 } })
    const good = await device(setup, 5)
    const sockets: Socket[] = []
    let closed = 0
    for (let index = 0; index < 2000; index++) {
      const socket = connectTcp(setup.broker.port ?? 0, host)
      socket.on('error', () => {})
      socket.on('close', () => closed++)
      sockets.push(socket)
      if (index % 100 === 99) await new Promise<void>((resolve) => socket.once('connect', () => resolve()))
    }
    ends.push(() => {
      for (const socket of sockets) socket.destroy()
    })
    await good.publishAsync(telemetry(5), '1', { qos: 1 })
    const another = await device(setup, 6)
    await another.publishAsync(telemetry(6), '1', { qos: 1 })
    expect(closed).toBeLessThan(2000)
    await until(() => closed === 2000, 'all silent ones have gone', 8000)
    await good.publishAsync(telemetry(5), '2', { qos: 1 })
    expect(setup.broker.connected()).toBe(2)
  })

  test('above the bound of unauthenticated connections the oldest ends', async () => {
    const setup = await start({ limits: { maxPending: 3 } })
    const good = await rawDevice(setup, 5)
    const clients: Awaited<ReturnType<typeof rawClient>>[] = []
    for (let index = 0; index < 5; index++) clients.push(await rawClient(setup.broker.port))
    await clients[1]?.closes()
    await aWhile()
    expect(clients.map((client) => client.isClosed())).toEqual([true, true, false, false, false])
    expect(good.isClosed()).toBe(false)
    expect(await answerTo(setup, connectPacket(6))).toBe(0)
  })

  test('too many wrong keys from an address end its welcome, not its connections', async () => {
    const setup = await start({ limits: { authFailuresPerMinutePerIp: 3 } })
    const good = await rawDevice(setup, 5)
    const wrong = connectPacket(6, { password: Buffer.from('no') })
    for (let index = 0; index < 4; index++) expect(await answerTo(setup, wrong)).toBe(4)
    const refused = await rawClient(setup.broker.port)
    refused.send(connectPacket(6))
    await refused.closes()
    expect(refused.packets).toEqual([])
    good.send(publishPacket(telemetry(5), '1', 1))
    await good.got('puback')
  })

  test.each<[string, Buffer]>([
    ['a length of five bytes', Buffer.from([0x30, 0x80, 0x80, 0x80, 0x80, 1])],
    ['a second CONNECT', connectPacket(5)],
    ['both QoS bits', Buffer.from([0x36, 4, 0, 1, 0x61, 0])],
    ['a SUBSCRIBE with wrong flags', Buffer.from([0x80, 6, 0, 1, 0, 1, 0x61, 0])],
    ['a SUBSCRIBE of nothing', Buffer.from([0x82, 0])],
    ['a SUBSCRIBE cut short', Buffer.from([0x82, 4, 0, 1, 0, 9])],
    ['a SUBSCRIBE of 100 KB', Buffer.from([0x82, 0xa0, 0x8d, 0x06])],
    ['a topic longer than its packet', Buffer.from([0x30, 3, 0, 9, 0x61])],
    ['an empty topic', Buffer.from([0x30, 2, 0, 0])],
    ['a CONNACK', Buffer.from([0x20, 2, 0, 0])],
    ['an AUTH', Buffer.from([0xf0, 2, 0, 0])],
    ['a reserved type', Buffer.from([0x00, 0])],
    ['a topic of 200 levels', publishPacket(`${telemetry(5)}/${'a/'.repeat(200)}`, '1', 1)],
  ])('%s ends the connection and nothing else', async (_what, bytes) => {
    const setup = await start()
    const other = await rawDevice(setup, 6)
    const client = await rawDevice(setup, 5)
    client.send(bytes)
    await client.closes()
    other.send(publishPacket(telemetry(6), '1', 1))
    await other.got('puback')
    expect(setup.broker.connected()).toBe(1)
  })

  test('a client that reads nothing does not hold up others', async () => {
    const setup = await start()
    const commands = 'iotflow/devices/5/commands'
    const deaf = await rawDevice(setup, 5)
    deaf.send(subscribePacket(commands))
    await deaf.got('suback')
    deaf.socket.pause()
    const payload = Buffer.alloc(100_000)
    const flood = Array.from({ length: 200 }, () =>
      setup.broker.publish({ topic: commands, payload, qos: 0, retain: false }),
    )
    const good = await rawDevice(setup, 6)
    good.send(publishPacket(telemetry(6), '1', 1), publishPacket(telemetry(6), '2', 2))
    await good.got('puback', 2)
    const commandsOfSix = 'iotflow/devices/6/commands'
    good.send(subscribePacket(commandsOfSix))
    await good.got('suback')
    await setup.broker.publish({ topic: commandsOfSix, payload: 'x', qos: 1, retain: false })
    await good.got('publish')
    expect(deaf.of('publish').length).toBeLessThan(200)
    // Each of them resolves although the client never reads.
    await Promise.all(flood)
  })
})

describe('a flood', () => {
  const many = (id: number, count: number) =>
    Array.from({ length: count }, (_, index) => publishPacket(telemetry(id), `${index}`))

  test('from one client is let in by 64, from all by the bound, and nothing is lost', async () => {
    const setup = await start({ hold: true, limits: { maxHeld: 100 } })
    const one = await rawDevice(setup, 1)
    one.send(...many(1, 500))
    await until(() => setup.calls.length >= 64, 'the first group')
    await aWhile()
    expect(setup.calls).toHaveLength(64)
    for (const id of [2, 3, 4]) (await rawDevice(setup, id)).send(...many(id, 500))
    await until(() => setup.calls.length >= 100, 'the bound')
    await aWhile()
    expect(setup.calls).toHaveLength(100)
    let open = 0
    while (open < 2000) {
      const call = setup.calls[open]
      if (call === undefined) {
        await until(() => setup.calls.length > open, `message ${open}`)
        continue
      }
      expect(setup.calls.length - open).toBeLessThanOrEqual(100)
      call.resolve()
      open++
    }
    for (const id of [1, 2, 3, 4]) {
      const payloads = setup.calls
        .filter(({ event }) => event.topic === telemetry(id))
        .map(({ event }) => Number(Buffer.from(String(event.payload), 'base64').toString()))
      expect(payloads).toEqual(Array.from({ length: 500 }, (_, index) => index))
    }
  })

  test('does not push another client to its end', async () => {
    const setup = await start({ hold: true, limits: { maxHeld: 32 } })
    const flooding = await Promise.all([1, 2, 3].map((id) => rawDevice(setup, id)))
    for (const [index, client] of flooding.entries()) client.send(...many(index + 1, 1000))
    await until(() => setup.calls.length === 32, 'the bound')
    const good = await rawDevice(setup, 9)
    good.send(publishPacket(telemetry(9), 'x', 1))
    await aWhile()
    let done = 0
    const isIn = () => setup.calls.some(({ event }) => event.topic === telemetry(9))
    while (!isIn() && done < 3000) {
      for (const call of setup.calls.slice(done)) {
        call.resolve()
        done++
      }
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
    // Three others stand before it, with a window of 64 each at most.
    expect(done).toBeLessThan(500)
  })

  test('leaves turns of the event loop to others', async () => {
    let inTurn = 0
    let most = 0
    let all = 0
    const setup = await start({
      limits: { turnMs: 0 },
      invoke: async () => {
        inTurn++
        all++
      },
    })
    const clients = await Promise.all(Array.from({ length: 40 }, (_, index) => rawDevice(setup, index + 1)))
    let watching = true
    const watch = () => {
      most = Math.max(most, inTurn)
      inTurn = 0
      if (watching) setImmediate(watch)
    }
    for (const [index, client] of clients.entries()) client.send(...many(index + 1, 200))
    watch()
    await until(() => all === 8000, 'all messages', 15_000)
    watching = false
    // One door at once and one by turn, 64 each; without the gate 40 doors would come at once.
    expect(most).toBeLessThanOrEqual(256)
  })

  test('that ends with its connection gives its places back', async () => {
    const setup = await start({ hold: true, limits: { maxHeld: 4 } })
    for (let round = 0; round < 4; round++) {
      const client = await rawDevice(setup, 5)
      client.send(publishPacket(telemetry(6), 'not mine'), ...many(5, 3))
      await client.closes()
    }
    const good = await rawDevice(setup, 9)
    good.send(...many(9, 4))
    await until(() => setup.calls.length === 4, 'all four at a time')
  })

  test('of pings is answered', async () => {
    const setup = await start()
    const client = await rawDevice(setup, 5)
    client.send(Buffer.concat(Array.from({ length: 5000 }, () => Buffer.from([0xc0, 0]))))
    await client.got('pingresp', 5000)
  })
})

describe('the throttle', () => {
  test('holds messages back until each is counted, drops none and leaves the others alone', async () => {
    let places = 0
    let counted = 0
    const setup = await start({
      throttle: async (id) => {
        if (id !== '5') return 0
        if (places === 0) return 20
        places--
        counted++
        return 0
      },
    })
    const payloads = () =>
      setup.calls
        .filter(({ event }) => event.topic === telemetry(5))
        .map(({ event }) => Buffer.from(String(event.payload), 'base64').toString())
    const slow = await rawDevice(setup, 5)
    const fast = await rawDevice(setup, 6)
    slow.send(...[1, 2, 3].map((id) => publishPacket(telemetry(5), `${id}`, id)))
    fast.send(publishPacket(telemetry(6), '1', 1))
    await fast.got('puback')
    await aWhile(100)
    expect(payloads()).toEqual([])
    places = 2
    await slow.got('puback', 2)
    await aWhile(100)
    expect(payloads()).toEqual(['1', '2'])
    places = 9
    await slow.got('puback', 3)
    expect(payloads()).toEqual(['1', '2', '3'])
    expect(counted).toBe(3)
  })

  test('is asked by one message of a line, not by all that wait', async () => {
    let asked = 0
    let open = false
    const setup = await start({
      throttle: async () => {
        asked++
        return open ? 0 : 10
      },
    })
    const client = await rawDevice(setup, 5)
    client.send(...Array.from({ length: 50 }, (_, index) => publishPacket(telemetry(5), '1', index + 1)))
    await until(() => asked >= 50, 'each has asked once')
    const before = asked
    await aWhile(200)
    // One that asks every 10 ms makes 20; fifty of them would make 1,000.
    expect(asked - before).toBeLessThan(100)
    open = true
    await client.got('puback', 50)
  })

  test('lets nobody add to what waits by coming back, and goes on with it later', async () => {
    let open = false
    const setup = await start({ throttle: async () => (open ? 0 : 10) })
    const messages = Array.from({ length: 60 }, (_, index) => publishPacket(telemetry(5), `${index}`))
    for (let round = 0; round < 5; round++) {
      const client = await rawDevice(setup, 5)
      client.send(...messages)
      await aWhile(20)
      if (round < 4) client.socket.destroy()
    }
    open = true
    await until(() => setup.calls.length >= 120, 'what waited')
    await aWhile()
    // The window of the first, that of the second as far as one was left, and what the last one still sends.
    expect(setup.calls.length).toBeLessThanOrEqual(3 * 64)
    const other = await rawDevice(setup, 6)
    other.send(publishPacket(telemetry(6), '1', 1))
    await other.got('puback')
  })

  test('takes no place from others while it holds', async () => {
    const setup = await start({
      throttle: async (id) => (id === '5' ? 60_000 : 0),
      limits: { maxHeld: 4 },
    })
    const slow = await rawDevice(setup, 5)
    slow.send(...Array.from({ length: 20 }, (_, index) => publishPacket(telemetry(5), '1', index + 1)))
    await aWhile()
    const fast = await rawDevice(setup, 6)
    fast.send(publishPacket(telemetry(6), '1', 1))
    await fast.got('puback')
  })

  test('that fails holds nothing back', async () => {
    const setup = await start({
      throttle: () => {
        throw new Error('no limiter')
      },
    })
    const client = await rawDevice(setup, 5)
    client.send(publishPacket(telemetry(5), '1', 1))
    await client.got('puback')
  })
})

describe('the end', () => {
  test('waits for what is under way, acknowledges it, and takes nothing more', async () => {
    const setup = await start({ hold: true })
    const client = await rawDevice(setup, 5, {
      will: { topic: 'iotflow/devices/5/telemetry', payload: Buffer.from('will'), qos: 0, retain: false },
    })
    client.send(publishPacket(telemetry(5), '1', 1))
    await until(() => setup.calls.length === 1, 'the invoke')
    let closed = false
    const closing = setup.broker.close().then(() => {
      closed = true
    })
    client.send(publishPacket(telemetry(5), '2', 2))
    await aWhile()
    expect(closed).toBe(false)
    expect(client.of('puback')).toEqual([])
    const late = await rawClient(setup.broker.port)
    await late.closes()
    setup.calls[0]?.resolve()
    await closing
    await client.closes()
    expect(client.of('puback').map(({ messageId }) => messageId)).toEqual([1])
    expect(setup.calls).toHaveLength(1)
  })

  test('comes though something never ends, and that is not acknowledged', async () => {
    const setup = await start({ hold: true })
    const client = await rawDevice(setup, 5)
    client.send(publishPacket(telemetry(5), '1', 1))
    await until(() => setup.calls.length === 1, 'the invoke')
    const began = Date.now()
    await setup.broker.close()
    expect(Date.now() - began).toBeGreaterThan(2500)
    await client.closes()
    setup.calls[0]?.resolve()
    await aWhile()
    expect(client.of('puback')).toEqual([])
  })

  test('wakes messages that are held back: they are stored, then acknowledged', async () => {
    const setup = await start({ throttle: async () => 60_000 })
    const client = await rawDevice(setup, 5)
    client.send(publishPacket(telemetry(5), '1', 1), publishPacket(telemetry(5), '2'))
    await aWhile()
    expect(setup.calls).toEqual([])
    await setup.broker.close()
    await client.closes()
    expect(setup.calls).toHaveLength(2)
    expect(client.of('puback')).toHaveLength(1)
  })

  test('may be asked for twice, and leaves no connection behind', async () => {
    const setup = await start({ wsPort: 0 })
    const silent = await rawClient(setup.broker.wsPort)
    const client = await rawDevice(setup, 5)
    await Promise.all([setup.broker.close(), setup.broker.close()])
    await silent.closes()
    await client.closes()
  })
})

describe('ports', () => {
  test('one that is taken is named in the error', async () => {
    const server: Server = createServer().listen(0, host)
    await new Promise((resolve) => server.once('listening', resolve))
    ends.push(() => server.close())
    const { port } = server.address() as { port: number }
    await expect(start({ port })).rejects.toThrow(`MQTT_PORT ${port} is taken on ${host}`)
    await expect(start({ wsPort: port })).rejects.toThrow(`MQTT_WS_PORT ${port} is taken on ${host}`)
  })

  test('those that are left out are not there', async () => {
    const { broker } = await start({ port: 'none', wsPort: 0 })
    expect(broker.port).toBeUndefined()
    expect(broker.tlsPort).toBeUndefined()
    expect(broker.wsPort).toBeGreaterThan(0)
  })
})

describe('WebSocket', () => {
  const overWs = (setup: Setup, more: IClientOptions = {}) =>
    connectAsync(`ws://${host}:${setup.broker.wsPort}/mqtt`, {
      protocolVersion: 4,
      reconnectPeriod: 0,
      clientId: '5',
      username: '5',
      password: keyOf(5),
      ...more,
    }).then((client) => {
      client.on('error', () => {})
      ends.push(() => client.endAsync(true))
      return client
    })

  test('carries messages both ways', async () => {
    const setup = await start({ wsPort: 0 })
    const client = await overWs(setup)
    await client.publishAsync(telemetry(5), Buffer.alloc(128 * 1024, 'x'), { qos: 1 })
    expect(String(setup.calls[0]?.event.payload)).toHaveLength(Math.ceil((128 * 1024) / 3) * 4)
    const got = inbox(client)
    await client.subscribeAsync('iotflow/devices/5/commands', { qos: 1 })
    await setup.broker.publish({ topic: 'iotflow/devices/5/commands', payload: 'a', qos: 1, retain: false })
    await until(() => got.length === 1, 'the command')
  })

  const open = (setup: Setup, protocols: string[]) => {
    const socket = new WebSocket(`ws://${host}:${setup.broker.wsPort}/`, protocols)
    ends.push(() => socket.terminate())
    return new Promise<{ socket: WebSocket; status: number }>((resolve) => {
      socket.on('error', () => {})
      socket.on('open', () => resolve({ socket, status: 101 }))
      socket.on('unexpected-response', (_request, response) =>
        resolve({ socket, status: response.statusCode ?? 0 }),
      )
    })
  }

  test('speaks mqtt or mqttv3.1 and nothing else', async () => {
    const setup = await start({ wsPort: 0 })
    expect((await open(setup, [])).status).toBe(400)
    expect((await open(setup, ['chat'])).status).toBe(400)
    expect((await open(setup, ['chat', 'mqtt'])).socket.protocol).toBe('mqtt')
    expect((await open(setup, ['mqttv3.1'])).socket.protocol).toBe('mqttv3.1')
    expect((await fetch(`http://${host}:${setup.broker.wsPort}/`)).status).toBe(426)
  })

  test.each<[string, Buffer[]]>([
    ['a message of 100 KB', [Buffer.alloc(100_000, 0x10)]],
    ['a CONNECT of 256 MB', [Buffer.from([0x10, 0xff, 0xff, 0xff, 0x7f])]],
    ['no CONNECT', [Buffer.from([0xc0, 0])]],
  ])('%s before authentication ends the connection', async (_what, messages) => {
    const setup = await start({ wsPort: 0 })
    const { socket } = await open(setup, ['mqtt'])
    let closed = false
    socket.on('close', () => {
      closed = true
    })
    for (const message of messages) socket.send(message)
    await until(() => closed, 'the connection ends')
    expect(await overWs(setup)).toBeDefined()
  })

  test('a long message before authentication ends the connection before it is complete', async () => {
    const setup = await start({ wsPort: 0 })
    const client = connectTcp(setup.broker.wsPort ?? 0, host)
    let closed = false
    client.on('error', () => {})
    client.on('close', () => {
      closed = true
    })
    ends.push(() => client.destroy())
    client.write(
      'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
        'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n',
    )
    await new Promise((resolve) => client.once('data', resolve))
    // A masked binary frame of 100,000 bytes, of which 10,000 come.
    client.write(Buffer.from([0x82, 0xff, 0, 0, 0, 0, 0, 1, 0x86, 0xa0, 0, 0, 0, 0]))
    client.write(Buffer.alloc(10_000))
    await until(() => closed, 'the connection ends')
  })

  test('a message of 200 KB ends the connection', async () => {
    const setup = await start({ wsPort: 0 })
    const client = await overWs(setup)
    let closed = false
    client.on('close', () => {
      closed = true
    })
    client.publish(telemetry(5), Buffer.alloc(200 * 1024), { qos: 1 }, () => {})
    await until(() => closed, 'the connection ends')
    expect(setup.calls).toEqual([])
  })

  test('silence ends the connection, before and after the upgrade', async () => {
    const setup = await start({ wsPort: 0, limits: { connectTimeoutMs: 200 } })
    const plain = await rawClient(setup.broker.wsPort)
    const { socket } = await open(setup, ['mqtt'])
    let closed = false
    socket.on('close', () => {
      closed = true
    })
    await until(() => closed, 'the WebSocket ends')
    await plain.closes()
  })
})

const openssl = (() => {
  try {
    execFileSync('openssl', ['version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
})()

describeWith({ openssl }, 'TLS', () => {
  test('carries messages, and a handshake that never comes ends', async () => {
    const folder = await temporaryFolder()
    ends.push(() => folder.remove())
    const made = makeCertificate(folder.path, [])
    const tls = { port: 0, cert: readFileSync(made.cert), key: readFileSync(made.key) }
    const events: AuthorizerEvent[] = []
    const setup = await start({
      tls,
      limits: { connectTimeoutMs: 500 },
      authorize: (event) => {
        events.push(event)
        return authorize(event)
      },
    })
    const silent = await rawClient(setup.broker.tlsPort)
    const client = await connectAsync(`mqtts://${host}:${setup.broker.tlsPort}`, {
      protocolVersion: 4,
      reconnectPeriod: 0,
      clientId: '5',
      username: '5',
      password: keyOf(5),
      rejectUnauthorized: false,
    })
    ends.push(() => client.endAsync(true))
    expect(events[0]).toEqual({
      protocols: ['tls', 'mqtt'],
      protocolData: {
        mqtt: { username: '5', password: Buffer.from(keyOf(5)).toString('base64'), clientId: '5' },
      },
      connectionMetadata: { id: expect.any(String) },
    })
    await silent.closes()
    await client.publishAsync(telemetry(5), '1', { qos: 1 })
    expect(setup.calls).toHaveLength(1)
  })

  test('a certificate that is none is told at the start', async () => {
    const started = start({ tls: { port: 0, cert: 'x', key: 'y' } })
    await expect(started).rejects.toThrow('TLS_CERT and TLS_KEY')
  })
})
