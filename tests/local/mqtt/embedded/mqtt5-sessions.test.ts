import { describe, expect, test } from 'vitest'
import {
  authorize,
  aWhile,
  publishPacket,
  rawDevice,
  type Setup,
  start,
  statusRule,
} from '../../../support/embedded-broker.ts'
import { until } from '../../../support/waiting.ts'

const v5 = { protocolVersion: 5 }
const deviceV5 = (setup: Setup, id: number, more: object = {}) => rawDevice(setup, id, { ...v5, ...more })
const publishV5 = (topic: string, payload: string | Buffer, messageId = 0, more: object = {}) =>
  publishPacket(topic, payload, messageId, { ...v5, ...more })

const commands = 'iotflow/devices/5/commands'
const status = 'iotflow/devices/5/status/offline'
const gone = (setup: Setup) => until(() => setup.broker.connected() === 0, 'the device is offline')

type Client = Awaited<ReturnType<typeof rawDevice>>
const subscribe = async (client: Client, topic: string, more: object = {}) => {
  const subscriptions = [{ topic, qos: 2 as const, ...more }]
  client.sendPacket({ cmd: 'subscribe', messageId: 9, subscriptions } as Parameters<Client['sendPacket']>[0])
  await client.got('suback')
}

describe('a session', () => {
  const reconnects = async (setup: Setup, more: object) => {
    const back = await deviceV5(setup, 5, { clean: false, ...more })
    return back.of('connack')[0]?.sessionPresent
  }
  const begins = async (setup: Setup, sessionExpiryInterval: number, disconnect?: object) => {
    const client = await deviceV5(setup, 5, { properties: { sessionExpiryInterval } })
    await subscribe(client, commands)
    if (disconnect) client.sendPacket({ cmd: 'disconnect', ...disconnect })
    else client.socket.destroy()
    await gone(setup)
    await setup.broker.publish({ topic: commands, payload: 'later', qos: 1, retain: false })
  }

  test('ends with its connection, unless it has an expiry interval', async () => {
    const setup = await start()
    await begins(setup, 0)
    expect(await reconnects(setup, {})).toBe(false)
  })

  test('keeps messages until it expires', async () => {
    const setup = await start()
    await begins(setup, 60)
    const back = await deviceV5(setup, 5, { clean: false, properties: { sessionExpiryInterval: 1 } })
    await back.got('publish')
    expect(back.of('connack')[0]).toMatchObject({ sessionPresent: true })
    back.socket.destroy()
    await gone(setup)
    await aWhile(1300)
    expect(await reconnects(setup, {})).toBe(false)
  })

  test('that is resumed without an expiry interval brings its messages, and ends with the connection', async () => {
    const setup = await start()
    await begins(setup, 60)
    const back = await deviceV5(setup, 5, { clean: false })
    await back.got('publish')
    expect(String(back.of('publish')[0]?.payload)).toBe('later')
    back.socket.destroy()
    await gone(setup)
    expect(await reconnects(setup, {})).toBe(false)
  })

  test('has the expiry interval of DISCONNECT', async () => {
    const setup = await start()
    await begins(setup, 60, { reasonCode: 0, properties: { sessionExpiryInterval: 0 } })
    expect(await reconnects(setup, {})).toBe(false)
  })

  test('is discarded by a clean start', async () => {
    const setup = await start()
    await begins(setup, 60)
    const client = await deviceV5(setup, 5, { properties: { sessionExpiryInterval: 60 } })
    await aWhile()
    expect(client.of('connack')[0]).toMatchObject({ sessionPresent: false })
    expect(client.of('publish')).toEqual([])
  })

  test('does not end when a newer connection takes it over', async () => {
    const setup = await start()
    const old = await deviceV5(setup, 5, { properties: { sessionExpiryInterval: 60 } })
    await subscribe(old, commands)
    const newer = await deviceV5(setup, 5, { clean: false, properties: { sessionExpiryInterval: 60 } })
    await old.closes()
    expect(old.of('disconnect')[0]).toMatchObject({ reasonCode: 0x8e })
    expect(newer.of('connack')[0]).toMatchObject({ sessionPresent: true })
    await setup.broker.publish({ topic: commands, payload: 'x', qos: 1, retain: false })
    await newer.got('publish')
  })

  test('drops messages that expire while they wait, and tells how long others are valid', async () => {
    const setup = await start()
    await begins(setup, 60)
    // Devices may not publish to their subscriptions, so the status of a device stands for such a message.
    const sender = await deviceV5(setup, 5, { clientId: '5-sender' })
    sender.send(publishV5(status, 'old', 1, { retain: true, properties: { messageExpiryInterval: 1 } }))
    await sender.got('puback')
    expect(setup.broker.retainedTopics()).toEqual([status])
    await aWhile(1100)
    expect(setup.broker.retained(status)).toBeUndefined()
    expect(setup.broker.retainedTopics()).toEqual([])
  })
})

describe('a will', () => {
  const willOf = (willDelayInterval: number) => ({
    properties: { sessionExpiryInterval: 60 },
    will: {
      topic: status,
      payload: Buffer.from('gone'),
      qos: 1,
      retain: true,
      properties: { willDelayInterval },
    },
  })

  test('is published after its delay', async () => {
    const setup = await start({ rules: [statusRule] })
    const client = await deviceV5(setup, 5, willOf(1))
    client.socket.destroy()
    await gone(setup)
    await aWhile(500)
    expect(setup.calls).toEqual([])
    await until(() => setup.calls.length === 1, 'the will')
    expect(setup.calls[0]?.event).toEqual({ topic: status, payload: 'gone' })
  })

  test('is published with its properties, without the delay', async () => {
    const everything = { Effect: 'Allow', Action: 'iot:*', Resource: '*' } as const
    const attributes = { 'iot:ConnectAttributes': ['LastWill', 'PersistentConnect'] }
    const anyConnect = { ...everything, Condition: { 'ForAllValues:StringEquals': attributes } }
    const policyDocuments = [{ Version: '2012-10-17', Statement: [everything, anyConnect] }] as const
    const setup = await start({
      authorize: async (event) => ({ ...(await authorize(event)), policyDocuments }),
    })
    const subscriber = await deviceV5(setup, 6)
    await subscribe(subscriber, status)
    const { will, ...rest } = willOf(1)
    const properties = { ...will.properties, contentType: 'text/plain' }
    const client = await deviceV5(setup, 5, { ...rest, will: { ...will, properties } })
    client.socket.destroy()
    await subscriber.got('publish')
    expect(subscriber.of('publish')[0]?.properties).toEqual({ contentType: 'text/plain' })
  })

  test('is not published when the client is back before, or when its session is ended', async () => {
    const setup = await start({ rules: [statusRule] })
    const client = await deviceV5(setup, 5, willOf(1))
    client.socket.destroy()
    await gone(setup)
    const back = await deviceV5(setup, 5, { ...willOf(1), clean: false })
    back.socket.destroy()
    await gone(setup)
    await setup.broker.disconnect('5', { cleanSession: true, preventWill: true })
    await aWhile(1300)
    expect(setup.calls).toEqual([])
  })

  test('is not kept when its session is the oldest of too many', async () => {
    const setup = await start({ rules: [statusRule] })
    for (let session = 0; session < 17; session += 1) {
      const client = await deviceV5(setup, 5, { ...willOf(session === 0 ? 1 : 60), clientId: `5-${session}` })
      client.socket.destroy()
      await gone(setup)
    }
    await aWhile(1300)
    expect(setup.calls).toEqual([])
  })

  test('is published after DISCONNECT with its reason code, and after no other', async () => {
    const setup = await start({ rules: [statusRule] })
    for (const reasonCode of [0, 4]) {
      const client = await deviceV5(setup, 5, willOf(0))
      client.sendPacket({ cmd: 'disconnect', reasonCode })
      await client.closes()
      await aWhile()
      expect(setup.calls).toHaveLength(reasonCode === 4 ? 1 : 0)
    }
  })
})
