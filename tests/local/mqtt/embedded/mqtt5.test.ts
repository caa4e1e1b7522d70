import { describe, expect, test } from 'vitest'
import {
  answerTo,
  aWhile,
  connectPacket,
  device,
  publishPacket,
  rawClient,
  rawDevice,
  type Setup,
  start,
  telemetry,
} from '../../../support/embedded-broker.ts'
import { until } from '../../../support/waiting.ts'

const v5 = { protocolVersion: 5 }
const connectV5 = (id: number, more: object = {}) => connectPacket(id, { ...v5, ...more })
const deviceV5 = (setup: Setup, id: number, more: object = {}) => rawDevice(setup, id, { ...v5, ...more })
const publishV5 = (topic: string, payload: string | Buffer, messageId = 0, more: object = {}) =>
  publishPacket(topic, payload, messageId, { ...v5, ...more })

const commands = 'iotflow/devices/5/commands'

type Client = Awaited<ReturnType<typeof rawDevice>>
const subscribe = async (client: Client, topic: string, more: object = {}) => {
  const subscriptions = [{ topic, qos: 2 as const, ...more }]
  client.sendPacket({ cmd: 'subscribe', messageId: 9, subscriptions } as Parameters<Client['sendPacket']>[0])
  await client.got('suback')
}

describe('CONNECT', () => {
  test.each<[string, Buffer, number]>([
    ['the key of the device', connectV5(5), 0],
    ["another device's client id", connectV5(5, { clientId: '6' }), 0x85],
    ['a client id that names no device', connectV5(5, { clientId: 'sensor' }), 0x85],
    ['a wrong key', connectV5(5, { password: Buffer.from('wrong') }), 0x86],
    ['no key', connectV5(5, { username: undefined, password: undefined }), 0x86],
    [
      "a will on another's topic",
      connectV5(5, { will: { topic: telemetry(6), payload: Buffer.from('x'), qos: 0, retain: false } }),
      0x87,
    ],
    ['an authentication method', connectV5(5, { properties: { authenticationMethod: 'SCRAM-SHA-1' } }), 0x8c],
    ['a Receive Maximum of 0', connectV5(5, { properties: { receiveMaximum: 0 } }), 0x82],
  ])('with %s', async (_what, packet, code) => {
    expect(await answerTo(await start(), packet, 5)).toBe(code)
  })

  test('with a session expiry interval twice ends the connection, and the broker keeps running', async () => {
    const setup = await start()
    const connect = connectV5(5, { properties: { sessionExpiryInterval: 1 } })
    const property = Buffer.from([0x11, 0, 0, 0, 1])
    const at = connect.indexOf(property)
    const twice = Buffer.concat([connect.subarray(0, at), property, connect.subarray(at)])
    twice[1] = (twice[1] ?? 0) + property.length
    twice[at - 1] = 2 * property.length
    const client = await rawClient(setup.broker.port, 5)
    client.send(twice)
    await client.closes()
    expect(client.packets).toEqual([])
    expect(await answerTo(setup, connectV5(5), 5)).toBe(0)
  })

  test('while the authorizer fails is answered with "server unavailable"', async () => {
    const setup = await start({ authorize: () => Promise.reject(new Error('down')) })
    expect(await answerTo(setup, connectV5(5), 5)).toBe(0x88)
  })

  test('is answered with what is limited', async () => {
    const client = await deviceV5(await start(), 5)
    expect(client.of('connack')[0]?.properties).toEqual({
      receiveMaximum: 64,
      maximumPacketSize: 128 * 1024 + 1024 + 5,
      topicAliasMaximum: 16,
      sharedSubscriptionAvailable: false,
    })
  })

  test.each([true, false])(
    'without a client id gets one, which CONNACK tells (clean start: %s)',
    async (clean) => {
      const setup = await start()
      const connect = connectV5(5, { clientId: '' })
      // The codec refuses to build it: byte 9 holds the flags, 2 is clean start.
      if (!clean) connect[9] = (connect[9] ?? 0) & ~2
      const client = await rawClient(setup.broker.port, 5)
      client.send(connect)
      await client.got('connack')
      const [connack] = client.of('connack') as { properties?: { assignedClientIdentifier?: string } }[]
      const assignedClientIdentifier = connack?.properties?.assignedClientIdentifier
      expect(assignedClientIdentifier).toMatch(/^5-\w{16,}$/)
      client.send(publishV5(telemetry(5), '1', 1))
      await client.got('puback')
      expect(setup.calls[0]?.event.client_id).toBe(assignedClientIdentifier)
    },
  )

  test('of MQTT.js is accepted, and its messages are stored', async () => {
    const setup = await start()
    const client = await device(setup, 5, { protocolVersion: 5 })
    for (const qos of [0, 1, 2] as const) await client.publishAsync(telemetry(5), `${qos}`, { qos })
    await until(() => setup.calls.length === 3, 'all three')
  })
})

describe('a publish', () => {
  test('is acknowledged after its function has stored it, not before', async () => {
    const setup = await start({ hold: true })
    const client = await deviceV5(setup, 5)
    client.send(publishV5(telemetry(5), '1', 9))
    await until(() => setup.calls.length === 1, 'the invoke')
    await aWhile()
    expect(client.of('puback')).toEqual([])
    setup.calls[0]?.resolve()
    await client.got('puback')
    expect(client.of('puback')[0]).toMatchObject({ messageId: 9, reasonCode: 0 })
  })

  test('that could not be stored is not acknowledged: the client learns that the server is busy', async () => {
    const setup = await start({ hold: true })
    const client = await deviceV5(setup, 5)
    client.send(publishV5(telemetry(5), '1', 1), publishV5(telemetry(5), '2', 2))
    await until(() => setup.calls.length === 2, 'both invokes')
    setup.calls[1]?.resolve()
    setup.calls[0]?.reject(new Error('disk full'))
    await client.closes()
    expect(client.packets.slice(1)).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x89 }])
  })

  test.each<[string, Buffer, number]>([
    ['to the topic of another device', publishV5(telemetry(6), '1', 1), 0x87],
    ['with QoS 0 to the topic of another device', publishV5(telemetry(6), '1'), 0x87],
    ['with QoS 2 to its own commands', publishV5(commands, '1', 1, { qos: 2 }), 0x87],
    ['of retained telemetry', publishV5(telemetry(5), '1', 1, { retain: true }), 0x87],
    ['with an alias that is not declared', publishV5('', '1', 1, { properties: { topicAlias: 1 } }), 0x94],
    [
      'with an alias beyond the maximum',
      publishV5(telemetry(5), '1', 1, { properties: { topicAlias: 17 } }),
      0x94,
    ],
    ['of 200 KiB', publishV5(telemetry(5), Buffer.alloc(200 * 1024), 1), 0x95],
    ['of 128 KiB and one byte', publishV5(telemetry(5), Buffer.alloc(128 * 1024 + 1), 1), 0x95],
  ])('%s ends the connection with its reason, and reaches no function', async (_what, packet, reasonCode) => {
    const setup = await start()
    const client = await deviceV5(setup, 5)
    client.send(packet, publishV5(telemetry(5), 'after it', 2))
    await client.closes()
    expect(client.packets.slice(1)).toMatchObject([{ cmd: 'disconnect', reasonCode }])
    expect(setup.calls).toEqual([])
  })

  test('that follows CONNECT at once ends the connection with its reason, too', async () => {
    const setup = await start()
    const client = await rawClient(setup.broker.port, 5)
    client.send(connectV5(5), publishV5(telemetry(5), '1', 1, { properties: { topicAlias: 17 } }))
    await client.closes()
    expect(client.packets).toMatchObject([{ cmd: 'connack' }, { cmd: 'disconnect', reasonCode: 0x94 }])
  })

  test('may use an alias for its topic, with the rights of that topic', async () => {
    const setup = await start()
    const client = await deviceV5(setup, 5)
    client.send(publishV5(`${telemetry(5)}/a`, '1', 1, { properties: { topicAlias: 1 } }))
    client.send(publishV5('', '2', 2, { properties: { topicAlias: 1 } }))
    await client.got('puback', 2)
    expect(setup.calls.map(({ event }) => event.topic)).toEqual([`${telemetry(5)}/a`, `${telemetry(5)}/a`])
    client.send(publishV5(telemetry(6), '3', 3, { properties: { topicAlias: 2 } }))
    await client.closes()
    expect(setup.calls).toHaveLength(2)
  })

  test('of 128 KiB with properties is accepted', async () => {
    const setup = await start()
    const client = await deviceV5(setup, 5)
    const userProperties = Object.fromEntries(
      Array.from({ length: 20 }, (_, index) => [`name${index}`, 'value']),
    )
    client.send(publishV5(telemetry(5), Buffer.alloc(128 * 1024), 1, { properties: { userProperties } }))
    await client.got('puback')
  })

  test.each<[string, Buffer]>([
    ['a property twice', Buffer.from([0x30, 14, 0, 1, 0x61, 10, 2, 0, 0, 0, 1, 2, 0, 0, 0, 1])],
    ['a Response Topic that is cut short', Buffer.from([0x30, 8, 0, 1, 0x61, 3, 8, 0, 99, 0])],
    ['a Subscription Identifier', Buffer.from([0x30, 6, 0, 1, 0x61, 2, 0x0b, 1])],
  ])('with %s ends the connection', async (_what, packet) => {
    const setup = await start()
    const client = await deviceV5(setup, 5)
    client.send(packet)
    await client.closes()
    expect(client.packets.slice(1)).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x82 }])
  })

  test('with properties that are malformed ends the connection', async () => {
    const setup = await start()
    const client = await deviceV5(setup, 5)
    client.send(Buffer.from([0x30, 6, 0, 1, 0x61, 2, 0x99, 0]))
    await client.closes()
    expect(setup.calls).toEqual([])
  })
})

describe('SUBSCRIBE', () => {
  test('tells for each filter why it is refused', async () => {
    const client = await deviceV5(await start(), 5)
    const topics = [commands, `${commands}/+`, '#', '$SYS/#', '$share/g/iotflow/devices/5/commands']
    client.sendPacket({
      cmd: 'subscribe',
      messageId: 1,
      subscriptions: topics.map((topic) => ({ topic, qos: 1 as const })),
    })
    await client.got('suback')
    expect(client.of('suback')[0]?.granted).toEqual([1, 1, 0x87, 0x87, 0x9e])
  })

  test('with an identifier brings it with each message', async () => {
    const setup = await start()
    const client = await deviceV5(setup, 5)
    client.sendPacket({
      cmd: 'subscribe',
      messageId: 1,
      subscriptions: [{ topic: commands, qos: 1 }],
      properties: { subscriptionIdentifier: 7 },
    })
    await client.got('suback')
    await setup.broker.publish({ topic: commands, payload: 'x', qos: 1, retain: false })
    await client.got('publish')
    expect(client.of('publish')[0]?.properties).toEqual({ subscriptionIdentifier: 7 })
  })

  test('brings a message once, with the identifiers of all subscriptions that match it', async () => {
    const setup = await start()
    const client = await deviceV5(setup, 5)
    for (const [index, topic] of [commands, `${commands}/#`, `${commands}/+`].entries())
      client.sendPacket({
        cmd: 'subscribe',
        messageId: index + 1,
        subscriptions: [{ topic, qos: 1 }],
        properties: { subscriptionIdentifier: index + 1 },
      })
    await client.got('suback', 3)
    await setup.broker.publish({ topic: commands, payload: 'x', qos: 1, retain: false })
    await client.got('publish')
    await aWhile()
    expect(client.of('publish')).toMatchObject([{ properties: { subscriptionIdentifier: [1, 2] } }])
  })

  test('brings no message that is larger than the client accepts', async () => {
    const setup = await start()
    const client = await deviceV5(setup, 5, { properties: { maximumPacketSize: 100 } })
    await subscribe(client, commands)
    for (const payload of ['x'.repeat(100), 'x'.repeat(60)])
      await setup.broker.publish({ topic: commands, payload, qos: 1, retain: false })
    await client.got('publish')
    await aWhile()
    expect(client.of('publish').map(({ payload }) => String(payload).length)).toEqual([60])
  })
})

test('the broker tells clients when it closes', async () => {
  const setup = await start()
  const client = await deviceV5(setup, 5)
  await setup.broker.close()
  await client.closes()
  expect(client.of('disconnect')[0]).toMatchObject({ reasonCode: 0x8b })
})

describe('limits', () => {
  test('of the bytes before authentication hold for MQTT 5', async () => {
    const setup = await start()
    const userProperties = { a: 'x'.repeat(4096) }
    const client = await rawClient(setup.broker.port, 5)
    client.send(connectV5(5, { properties: { userProperties } }))
    await client.closes()
    expect(client.packets).toEqual([])
  })
})
