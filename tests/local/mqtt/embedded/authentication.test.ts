import { generate } from 'mqtt-packet'
import { describe, expect, test } from 'vitest'
import type { AuthorizerEvent, AuthorizerResult } from '../../../../lib/mqtt/authorizer.ts'
import {
  answerTo,
  authorize,
  aWhile,
  connectPacket,
  denied,
  keyOf,
  publishPacket,
  rawClient,
  rawDevice,
  start,
  subscribePacket,
  telemetry,
} from '../../../support/embedded-broker.ts'
import { until } from '../../../support/waiting.ts'

/** The codec refuses to build it: byte 9 holds the flags, 2 is clean session. */
const sessionWithoutId = connectPacket(5, { clientId: '' })
sessionWithoutId[9] = (sessionWithoutId[9] ?? 0) & ~2

describe('CONNECT', () => {
  test.each(['5', '5-a', '5_a', 'iotflow-device-5', 'iotflow-device-5-x', 'device_5', 'esp32_5', ''])(
    'with the client id %j is accepted',
    async (clientId) => {
      const setup = await start()
      const client = await rawDevice(setup, 5, { clientId })
      client.send(publishPacket(telemetry(5), '1', 1))
      await client.got('puback')
    },
  )

  test('with an empty client id gets an id that begins with the device id', async () => {
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
    ["another device's client id", connectPacket(5, { clientId: '6' }), 2],
    ['a client id that only begins with its own id', connectPacket(5, { clientId: '55' }), 2],
    ['any client id', connectPacket(5, { clientId: 'sensor' }), 2],
    ['an empty client id and a session', sessionWithoutId, 2],
    ['a client id of 129 characters', connectPacket(5, { clientId: `5-${'x'.repeat(127)}` }), 2],
    ['a wrong key', connectPacket(5, { password: Buffer.from('wrong') }), 4],
    ["another device's key", connectPacket(5, { password: Buffer.from(keyOf(6)) }), 4],
    ['no key', connectPacket(5, { password: undefined }), 4],
    ['no name', connectPacket(5, { username: undefined, password: undefined }), 4],
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
    ['its status with QoS 2', { topic: 'iotflow/devices/5/status/offline', qos: 2 }, 0],
    ['its status, which the payload tells', { topic: 'iotflow/devices/5/status', retain: true }, 0],
  ])('with a will on %s', async (_what, will, code) => {
    const packet = connectPacket(5, { will: { payload: Buffer.from('x'), qos: 0, retain: false, ...will } })
    expect(await answerTo(await start(), packet)).toBe(code)
  })

  test('gets "server unavailable" when the authorizer fails, and the broker keeps running', async () => {
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

  test('is refused without policies, and with broken ones', async () => {
    const answer = { ...denied, isAuthenticated: true, principalId: '5' }
    const none = await start({ authorize: async () => answer })
    expect(await answerTo(none, connectPacket(5))).toBe(5)
    const broken = await start({ authorize: async () => ({ ...answer, policyDocuments: ['{'] }) })
    expect(await answerTo(broken, connectPacket(5))).toBe(5)
    const nothing = await start({ authorize: async () => undefined as unknown as AuthorizerResult })
    expect(await answerTo(nothing, connectPacket(5))).toBe(4)
  })

  test('is not decided again for a user name that failed too often from this address', async () => {
    let asked = 0
    const setup = await start({
      authorize: (event) => {
        asked++
        return authorize(event)
      },
    })
    const wrong = connectPacket(5, { password: Buffer.from('wrong') })
    for (let index = 0; index < 20; index++) expect(await answerTo(setup, wrong)).toBe(4)
    expect(await answerTo(setup, connectPacket(5))).toBe(3)
    expect(asked).toBe(20)
    expect(await answerTo(setup, connectPacket(6))).toBe(0)
  })

  test('tells the authorizer the address of the client', async () => {
    const events: AuthorizerEvent[] = []
    const setup = await start({
      authorize: (event) => {
        events.push(event)
        return authorize(event)
      },
    })
    await answerTo(setup, connectPacket(5, { username: undefined, password: undefined }))
    expect(events).toMatchObject([{ connectionMetadata: { address: '127.0.0.1' } }])
  })

  test('may be followed by other packets at once; they wait until the client is authenticated', async () => {
    const setup = await start()
    const client = await rawClient(setup.broker.port)
    const publishes = Array.from({ length: 50 }, (_, index) => publishPacket(telemetry(5), '1', index + 1))
    client.send(connectPacket(5), subscribePacket('iotflow/devices/5/config'), ...publishes)
    await client.got('puback', 50)
    await client.got('suback')
    expect(client.packets[0]?.cmd).toBe('connack')
  })

  test('ends after the time that the authorizer set', async () => {
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

describe('a session', () => {
  test('keeps messages that arrive while its device is offline', async () => {
    const setup = await start()
    const commands = 'iotflow/devices/5/commands'
    const client = await rawDevice(setup, 5, { clean: false })
    client.send(subscribePacket(commands))
    await client.got('suback')
    client.socket.destroy()
    await until(() => setup.broker.connected() === 0, 'the device is offline')
    await setup.broker.publish({ topic: commands, payload: 'later', qos: 1, retain: false })
    const back = await rawDevice(setup, 5, { clean: false })
    await back.got('publish')
    expect(back.of('connack')[0]).toMatchObject({ sessionPresent: true })
    expect(String(back.of('publish')[0]?.payload)).toBe('later')
  })

  test("keeps no place for the device's own answers, which it may not receive", async () => {
    const setup = await start()
    const commands = 'iotflow/devices/5/commands'
    const client = await rawDevice(setup, 5, { clean: false })
    client.send(subscribePacket(`${commands}/#`))
    await client.got('suback')
    client.socket.destroy()
    await until(() => setup.broker.connected() === 0, 'the device is offline')
    await setup.broker.publish({ topic: commands, payload: 'later', qos: 1, retain: false })
    const other = await rawDevice(setup, 5, { clientId: '5-other' })
    for (let id = 1; id <= 1001; id += 1) other.send(publishPacket(`${commands}/response`, '{}', id))
    await other.got('puback', 1001)
    const back = await rawDevice(setup, 5, { clean: false })
    await back.got('publish')
    expect(String(back.of('publish')[0]?.payload)).toBe('later')
  })

  test('keeps messages that were not acknowledged, also where subscriptions overlap', async () => {
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
    await until(() => setup.broker.connected() === 0, 'the device is offline')
    const back = await rawDevice(setup, 5, { clean: false })
    await back.got('publish')
    await aWhile()
    expect(back.of('publish').map(({ payload }) => String(payload))).toEqual(['b'])
  })

  test('belongs to the principal that began it, connected or not', async () => {
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
    await until(() => setup.broker.connected() === 0, 'the device is offline')
    expect(await answerTo(setup, connectPacket(6, { ...intruder, clean: false }))).toBe(5)
    expect(await answerTo(setup, connectPacket(6, intruder))).toBe(5)
    expect(await answerTo(setup, connectPacket(5, intruder))).toBe(0)
    expect(await answerTo(setup, connectPacket(6, intruder))).toBe(0)
  })

  test('is one of at most sixteen; the oldest one whose client is offline is deleted', async () => {
    const setup = await start()
    const names = Array.from({ length: 17 }, (_, index) => `5-${index}`)
    for (const clientId of names) {
      const client = await rawDevice(setup, 5, { clientId, clean: false })
      client.send(subscribePacket('iotflow/devices/5/commands'))
      await client.got('suback')
      client.socket.destroy()
      await until(() => setup.broker.connected() === 0, 'the device is offline')
    }
    const newest = await rawDevice(setup, 5, { clientId: '5-16', clean: false })
    expect(newest.of('connack')[0]).toMatchObject({ sessionPresent: true })
    const oldest = await rawDevice(setup, 5, { clientId: '5-0', clean: false })
    expect(oldest.of('connack')[0]).toMatchObject({ sessionPresent: false })
  })
})
