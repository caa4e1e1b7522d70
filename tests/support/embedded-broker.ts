/** A running embedded broker for its tests, with clients that send packets by hand. */

import { connect as connectTcp } from 'node:net'
import { fileURLToPath } from 'node:url'
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt'
import { generate, type Packet, parser } from 'mqtt-packet'
import { afterEach, expect } from 'vitest'
import type { AuthorizerEvent, AuthorizerResult } from '../../lib/mqtt/authorizer.ts'
import { deviceOfClientId } from '../../lib/mqtt/client-ids.ts'
import { devicePolicies, refusedClientPolicies } from '../../lib/mqtt/policy.ts'
import { defaultTopics, topicMatcher } from '../../lib/mqtt/topics.ts'
import { startBroker } from '../../local/mqtt/embedded/broker.ts'
import type { Broker, BrokerLimits, BrokerOptions } from '../../local/mqtt/embedded/options.ts'
import { loadRules, type TopicRule } from '../../local/mqtt/rules.ts'
import { until } from './waiting.ts'

export const host = '127.0.0.1'
export const keyOf = (id: number) => `secret-key-of-${id}`
export const marker = 'payload-that-must-not-be-logged'
export const telemetry = (id: number) => `iotflow/devices/${id}/telemetry`

export const denied: AuthorizerResult = {
  isAuthenticated: false,
  principalId: 'nobody',
  disconnectAfterInSeconds: 300,
  refreshAfterInSeconds: 300,
  policyDocuments: [],
}

/** Accepts devices 1–99, each with its own key. */
export const authorize = async ({ protocolData }: AuthorizerEvent): Promise<AuthorizerResult> => {
  const { clientId = '', username, password } = protocolData?.mqtt ?? {}
  const id = Number(username)
  const known = id >= 1 && id < 100 && Buffer.from(password ?? '', 'base64').toString() === keyOf(id)
  if (!known) return denied
  return {
    ...denied,
    isAuthenticated: true,
    principalId: String(id),
    disconnectAfterInSeconds: 86_400,
    policyDocuments:
      deviceOfClientId(clientId) === id
        ? devicePolicies(defaultTopics.of(id), clientId)
        : refusedClientPolicies,
  }
}

export const everyRule = await loadRules(fileURLToPath(new URL('../../iot-rules/', import.meta.url)))
export const projectRules = everyRule.filter(({ functionName }) => functionName === 'telemetry-ingest')
export const lifecycleRules = everyRule.filter(({ name }) => name === 'presence_lifecycle')
export const statusRule: TopicRule = {
  name: 'status',
  functionName: 'status',
  filter: 'iotflow/devices/+/status/#',
  matches: topicMatcher('iotflow/devices/+/status/#'),
  event: ({ topic, payload }) => ({ topic, payload: Buffer.from(payload).toString() }),
}

export interface Call {
  functionName: string
  event: Record<string, unknown>
  resolve(): void
  reject(error: unknown): void
}

export interface Setup {
  broker: Broker
  calls: Call[]
  lines: unknown[]
}

export const ends: (() => unknown)[] = []
export const allLines: unknown[] = []

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
  const text = JSON.stringify(allLines.splice(0))
  expect(text).not.toContain('secret-key')
  expect(text).not.toContain(Buffer.from('secret-key-of').toString('base64').slice(0, 12))
  expect(text).not.toContain(marker)
})

export type Start = Partial<Omit<BrokerOptions, 'limits'>> & {
  limits?: Partial<BrokerLimits>
  hold?: boolean
}

/** Starts a broker that records its invokes. With `hold` each stays open until the test resolves it. */
export const start = async ({ hold = false, ...options }: Start = {}): Promise<Setup> => {
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

/** Waits long enough for something that must not happen. */
export const aWhile = (ms = 60) => new Promise((resolve) => setTimeout(resolve, ms))

/** MQTT 5 when `protocolVersion` is 5. */
type Fields = Record<string, unknown> & { readonly protocolVersion?: number }

const encode = (packet: unknown, protocolVersion = 4) => generate(packet as Packet, { protocolVersion })

export const connectPacket = (id: number, more: Fields = {}) =>
  encode(
    {
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 4,
      clean: true,
      clientId: `${id}`,
      keepalive: 0,
      username: `${id}`,
      password: Buffer.from(keyOf(id)),
      ...more,
    },
    more.protocolVersion,
  )
export const publishPacket = (
  topic: string,
  payload: string | Buffer,
  messageId = 0,
  { protocolVersion, ...more }: Fields = {},
) =>
  encode(
    {
      cmd: 'publish',
      topic,
      payload,
      qos: messageId > 0 ? 1 : 0,
      retain: false,
      dup: false,
      ...(messageId > 0 ? { messageId } : {}),
      ...more,
    },
    protocolVersion,
  )
export const subscribePacket = (...filters: (string | [string, 0 | 1 | 2])[]) =>
  generate({
    cmd: 'subscribe',
    messageId: 77,
    subscriptions: filters.map((filter) =>
      typeof filter === 'string' ? { topic: filter, qos: 1 } : { topic: filter[0], qos: filter[1] },
    ),
  })

/** A client that sends raw bytes and records the packets it gets. */
export const rawClient = async (port: number | undefined, protocolVersion = 4) => {
  const socket = connectTcp(port ?? 0, host)
  const packets: Packet[] = []
  const reader = parser({ protocolVersion })
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
    sendPacket: (packet: Packet) => socket.write(encode(packet, protocolVersion)),
    got: (cmd: string, count = 1) => until(() => of(cmd).length >= count, `${count} ${cmd}`),
    isClosed: () => closed,
    closes: () => until(() => closed, 'the connection ends'),
  }
}

/** A raw client that is connected as this device. */
export const rawDevice = async (setup: Setup, id: number, more: Fields = {}) => {
  const client = await rawClient(setup.broker.port, more.protocolVersion)
  client.send(connectPacket(id, more))
  await client.got('connack')
  const { returnCode, reasonCode } = client.of('connack')[0] ?? {}
  expect(returnCode ?? reasonCode).toBe(0)
  return client
}

/** The return code of CONNACK, or the reason code of MQTT 5. */
export const answerTo = async (setup: Setup, packet: Buffer, protocolVersion = 4): Promise<number> => {
  const client = await rawClient(setup.broker.port, protocolVersion)
  client.send(packet)
  await client.got('connack')
  const [connack] = client.of('connack')
  const code = (connack?.returnCode ?? connack?.reasonCode) as number
  if (code !== 0) await client.closes()
  client.socket.destroy()
  return code
}

export const device = async (setup: Setup, id: number, more: IClientOptions = {}): Promise<MqttClient> => {
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

export const inbox = (client: MqttClient) => {
  const messages: string[] = []
  client.on('message', (topic, payload) => messages.push(`${topic} ${payload}`))
  return messages
}
