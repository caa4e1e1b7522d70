/** What MQTT clients of devices do, in both versions of the protocol, and what the server makes of it. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { IClientOptions, MqttClient } from 'mqtt'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Device, type StandaloneServer, startStandaloneServer } from '../support/standalone.ts'
import { until } from '../support/waiting.ts'

const adminToken = 'an-admin-token-for-these-tests'

let server: StandaloneServer
beforeAll(async () => {
  server = await startStandaloneServer({
    settings: { ADMIN_TOKEN: adminToken, RATE_LIMIT_PER_MINUTE: '0', RATE_LIMIT_IP_PER_MINUTE: '0' },
  })
})
afterAll(() => server?.stop())

const asAdmin = async (path: string) =>
  (await server.request('GET', path, { headers: { Authorization: `Bearer ${adminToken}` } })).body
const isOnline = async ({ id }: Device): Promise<boolean> =>
  (await asAdmin(`/api/v1/admin/devices?q=&limit=100`)).devices.find(
    (device: { id: number }) => device.id === id,
  ).is_online
const becomes = (device: Device, online: boolean) =>
  until(async () => (await isOnline(device)) === online, `the device is ${online ? 'online' : 'offline'}`, 50)
const failedLogins = async ({ id }: Device) => {
  const events = async () =>
    (await asAdmin(`/api/v1/admin/devices/${id}/events`)).events.filter(
      ({ event }: { event: string }) => event === 'login_failed',
    ) as { count: number; detail: Record<string, unknown> }[]
  // Events that repeat are written every few seconds.
  await until(async () => (await events()).length > 0, 'an event', 50)
  return events()
}
const codeOf = (error: unknown) => (error as { code?: number }).code

describe.each([4, 5] as const)('protocol version %i', (protocolVersion) => {
  const connect = (device: Device, options: IClientOptions = {}): Promise<MqttClient> =>
    server.mqtt(device, { protocolVersion, ...options })
  const topicOf = ({ id }: Device, rest: string) => `iotflow/devices/${id}/${rest}`

  it.each(['status/online', 'status'])(
    'a retained will that says offline on %s makes the device offline',
    async (on) => {
      const device = await server.register()
      const topic = topicOf(device, on)
      const will = { topic, payload: Buffer.from('{"status":"offline"}'), qos: 1 as const, retain: true }
      const client = await connect(device, { will })
      await client.publishAsync(topic, '{"status":"online"}', { qos: 1, retain: true })
      await becomes(device, true)
      client.stream.destroy()
      await becomes(device, false)
    },
  )

  it('the payload of a status tells which one it is, also as a bare word', async () => {
    const device = await server.register()
    const client = await connect(device)
    // So soon after CONNECT, an offline message counts as the will of the connection before.
    await sleep(5100)
    await client.publishAsync(topicOf(device, 'status'), 'offline', { qos: 1 })
    await becomes(device, false)
    await client.publishAsync(topicOf(device, 'status'), '{"status":"online","rssi":-60}', { qos: 1 })
    await becomes(device, true)
    await client.endAsync()
  })

  it('a will leaves a device online that has another connection', async () => {
    const device = await server.register()
    const will = {
      topic: topicOf(device, 'status'),
      payload: Buffer.from('offline'),
      qos: 1 as const,
      retain: true,
    }
    const one = await connect(device, { clientId: `${device.id}-one`, will })
    const two = await connect(device, { clientId: `${device.id}-two` })
    await becomes(device, true)
    one.stream.destroy()
    await sleep(500)
    expect(await isOnline(device)).toBe(true)
    await two.endAsync()
    await becomes(device, false)
  })

  it('filters within its commands are granted, as the predecessor subscribes', async () => {
    const device = await server.register()
    const client = await connect(device)
    for (const filter of ['commands/control', 'commands/+', 'commands/#', 'commands', 'config'])
      expect(await client.subscribeAsync(topicOf(device, filter), { qos: 1 })).toMatchObject([{ qos: 1 }])
    await client.endAsync()
  })

  it.each(['esp32_{id}', 'iotflow-device-{id}-boot3'])('the client id %s is accepted', async (pattern) => {
    const device = await server.register()
    const client = await connect(device, { clientId: pattern.replace('{id}', String(device.id)) })
    await client.publishAsync(topicOf(device, 'telemetry'), '{"t":1}', { qos: 1 })
    await client.endAsync()
  })

  it('another client id is refused, and an event of the device says so', async () => {
    const device = await server.register()
    const refused = await connect(device, { clientId: `${device.id}0` }).catch((error: unknown) => error)
    expect(codeOf(refused)).toBe(protocolVersion === 5 ? 0x85 : 2)
    expect(await failedLogins(device)).toMatchObject([
      { count: 1, detail: { reason: 'client id', client_id: `${device.id}0` } },
    ])
  })

  it('failed logins are logged with user name and address, and are one event of the device', async () => {
    const device = await server.register()
    const wrong = 'W'.repeat(32)
    for (let index = 0; index < 2; index++) {
      const refused = await connect(device, { password: wrong }).catch((error: unknown) => error)
      expect(codeOf(refused)).toBe(protocolVersion === 5 ? 0x86 : 4)
    }
    const [event] = await failedLogins(device)
    expect(event).toMatchObject({ detail: { reason: 'wrong key', address: '127.0.0.1' } })
    const lines = server
      .log()
      .filter(({ msg, username }) => msg === 'mqtt login failed' && username === String(device.id))
    expect(lines).toMatchObject([{ address: '127.0.0.1' }, { address: '127.0.0.1' }])
    expect(server.out()).not.toContain(wrong)
  })

  it('messages with QoS 0, 1 and 2 that MQTT.js sends at once are taken, and stored once', async () => {
    const device = await server.register()
    const client = await connect(device)
    const { readings } = await server.stored()
    const sent = Array.from({ length: 60 }, (_, index) => ({
      v: index,
      timestamp: Date.now() - index * 1000,
    }))
    await Promise.all(
      sent.map((reading, index) =>
        client.publishAsync(topicOf(device, 'telemetry'), JSON.stringify(reading), {
          qos: (index % 3) as 0 | 1 | 2,
        }),
      ),
    )
    await until(async () => (await server.stored()).readings >= readings + sent.length, 'all of them')
    expect((await server.stored()).readings).toBe(readings + sent.length)
    expect(client.connected).toBe(true)
    await client.endAsync()
  })
})

it('a client of MQTT 5 publishes with an alias of its topic', async () => {
  const device = await server.register()
  const client = await server.mqtt(device, { protocolVersion: 5 })
  const topic = `iotflow/devices/${device.id}/telemetry/sensors`
  const { readings } = await server.stored()
  await client.publishAsync(topic, '{"a":1}', { qos: 1, properties: { topicAlias: 3 } })
  await client.publishAsync('', '{"a":2}', { qos: 1, properties: { topicAlias: 3 } })
  expect((await server.stored()).readings).toBe(readings + 2)
  await client.endAsync()
})
