import { generate } from 'mqtt-packet'
import { describe, expect, test } from 'vitest'
import { AppError } from '../../../../lib/errors.ts'
import { defaultTopics } from '../../../../lib/mqtt/topics.ts'
import type { BrokerMessage } from '../../../../lib/telemetry/delivery.ts'
import type { TopicRule } from '../../../../local/mqtt/rules.ts'
import {
  aWhile,
  device,
  marker,
  projectRules,
  publishPacket,
  rawDevice,
  type Setup,
  type Start,
  start,
  statusRule,
  telemetry,
} from '../../../support/embedded-broker.ts'
import { until } from '../../../support/waiting.ts'

describe('telemetry on the short way', () => {
  /** Takes everything but `odd`; nothing ends before the test ends it. */
  const startTaking = async (options: Start = {}) => {
    const taken: { text: string; message: BrokerMessage; ended(failure?: AppError): void }[] = []
    const setup = await start({
      hold: true,
      topics: defaultTopics,
      take: (message, ended) => {
        const text = Buffer.from(message.payload).toString()
        if (text === 'broken') throw new Error('broken')
        if (text === 'odd') return false
        taken.push({ text, message, ended })
        return true
      },
      ...options,
    })
    return { ...setup, taken }
  }
  const texts = ({ calls }: Setup) =>
    calls.map(({ event }) => Buffer.from(event.payload as string, 'base64').toString())

  test('is acknowledged when it has ended, in the order of arrival, and reaches no function', async () => {
    const setup = await startTaking()
    const client = await rawDevice(setup, 5)
    client.send(publishPacket(telemetry(5), '1', 1), publishPacket(`${telemetry(5)}/lab`, '2', 2))
    await until(() => setup.taken.length === 2, 'both messages')
    expect(setup.taken.map(({ message }) => message)).toMatchObject([
      { deviceId: 5, subtopic: undefined, messageId: 'm1' },
      { deviceId: 5, subtopic: 'lab', messageId: 'm2' },
    ])
    setup.taken[1]?.ended()
    await aWhile()
    expect(client.of('puback')).toEqual([])
    setup.taken[0]?.ended()
    await client.got('puback', 2)
    expect(client.of('puback').map(({ messageId }) => messageId)).toEqual([1, 2])
    expect(setup.calls).toEqual([])
  })

  test.each(['odd', 'broken'])('is left to its function when it is %s', async (text) => {
    const setup = await startTaking()
    const client = await rawDevice(setup, 5)
    client.send(publishPacket(telemetry(5), text, 1))
    await until(() => setup.calls.length === 1, 'the invoke')
    expect(client.of('puback')).toEqual([])
    setup.calls[0]?.resolve()
    await client.got('puback')
    expect(setup.taken).toEqual([])
  })

  test('overtakes no earlier message of its device that its function has', async () => {
    const setup = await startTaking()
    const client = await rawDevice(setup, 5)
    const other = await rawDevice(setup, 6)
    client.send(publishPacket(telemetry(5), 'odd', 1), publishPacket(telemetry(5), 'behind', 2))
    other.send(publishPacket(telemetry(6), 'beside', 1))
    await until(() => setup.calls.length === 2 && setup.taken.length === 1, 'all messages')
    expect(texts(setup)).toEqual(['odd', 'behind'])
    expect(setup.taken[0]?.text).toBe('beside')
    for (const { resolve } of setup.calls) resolve()
    await client.got('puback', 2)
    client.send(publishPacket(telemetry(5), 'later', 3))
    await until(() => setup.taken.length === 2, 'the later message')
    for (const { ended } of setup.taken) ended()
    await client.got('puback', 3)
  })

  test('that could not be stored is retried by its function, and later messages wait behind it', async () => {
    const setup = await startTaking()
    const client = await rawDevice(setup, 5)
    client.send(publishPacket(telemetry(5), 'first', 1))
    await until(() => setup.taken.length === 1, 'the message')
    setup.taken[0]?.ended(new AppError('UNAVAILABLE', 'later'))
    client.send(publishPacket(telemetry(5), 'second', 2))
    await until(() => setup.calls.length === 2, 'both invokes')
    expect(texts(setup).toSorted()).toEqual(['first', 'second'])
    expect(setup.taken).toHaveLength(1)
    for (const { resolve } of setup.calls) resolve()
    await client.got('puback', 2)
    expect(client.of('puback').map(({ messageId }) => messageId)).toEqual([1, 2])
  })

  test('that fails for another reason is not acknowledged, and its connection ends', async () => {
    const setup = await startTaking()
    const client = await rawDevice(setup, 5)
    client.send(publishPacket(telemetry(5), 'first', 1))
    await until(() => setup.taken.length === 1, 'the message')
    setup.taken[0]?.ended(new AppError('INTERNAL', 'broken'))
    await client.closes()
    expect(client.of('puback')).toEqual([])
  })

  test('is stored once with QoS 2', async () => {
    const setup = await startTaking()
    const client = await rawDevice(setup, 5)
    const packet = publishPacket(telemetry(5), '1', 7, { qos: 2 })
    client.send(packet, packet)
    await until(() => setup.taken.length === 1, 'the message')
    setup.taken[0]?.ended()
    await client.got('pubrec', 2)
    expect(setup.taken).toHaveLength(1)
    expect(setup.calls).toEqual([])
  })

  test('is not the way of a will, whose device its function touches', async () => {
    const setup = await startTaking()
    const will = { topic: telemetry(5), payload: Buffer.from('gone'), qos: 1, retain: false }
    const client = await rawDevice(setup, 5, { will })
    client.socket.destroy()
    await until(() => setup.calls.length === 1, 'the invoke')
    expect(setup.taken).toEqual([])
  })

  test('is not the way of a message that two rules want', async () => {
    const second = { ...(projectRules[0] as TopicRule), name: 'second', functionName: 'second' }
    const setup = await startTaking({ rules: [...projectRules, second] })
    const client = await rawDevice(setup, 5)
    client.send(publishPacket(telemetry(5), '1', 1))
    await until(() => setup.calls.length === 2, 'both invokes')
    expect(setup.taken).toEqual([])
    for (const { resolve } of setup.calls) resolve()
    await client.got('puback')
  })

  test('is not the way of a status', async () => {
    const setup = await startTaking({ rules: [statusRule] })
    const client = await rawDevice(setup, 5)
    client.send(publishPacket('iotflow/devices/5/status', 'online', 1))
    await until(() => setup.calls.length === 1, 'the invoke')
    expect(setup.taken).toEqual([])
  })
})

describe('a publish', () => {
  test('is acknowledged after its function has stored it, not before', async () => {
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

  test('that matches no rule is acknowledged too', async () => {
    const setup = await start()
    const client = await device(setup, 5)
    await client.publishAsync('iotflow/devices/5/commands/response', '{}', { qos: 1 })
    expect(setup.calls).toEqual([])
  })

  test('is acknowledged in the order of arrival', async () => {
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

  test('that could not be stored is not acknowledged, and its connection ends', async () => {
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

  test('whose function throws ends its connection and no other', async () => {
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

  test('whose function never answers is not acknowledged: its connection ends, and its place is free again', async () => {
    const setup = await start({ hold: true, limits: { invokeTimeoutMs: 200, maxInProgress: 1 } })
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
    ['to a response of two levels', publishPacket('iotflow/devices/5/commands/a/b/response', '1', 1)],
    ['to a topic with NUL', publishPacket(`${telemetry(5)}/a\0`, '1', 1)],
    [
      'without a packet id',
      Buffer.concat([Buffer.from([0x32, 29, 0, 27]), Buffer.from(telemetry(5).padEnd(27, '/'))]),
    ],
  ])('%s ends the connection without reaching a function', async (_what, packet) => {
    const setup = await start()
    const client = await rawDevice(setup, 5)
    client.send(packet)
    await client.closes()
    expect(client.packets.map(({ cmd }) => cmd)).toEqual(['connack'])
    expect(setup.calls).toEqual([])
  })

  test('of 128 KiB is accepted, a larger one ends the connection', async () => {
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

describe('a will', () => {
  const will = {
    topic: 'iotflow/devices/5/status/offline',
    payload: Buffer.from('gone'),
    qos: 1,
    retain: true,
  }

  test('reaches the rules when the connection is lost, and not after a DISCONNECT', async () => {
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

  test('is published when the broker ends the connection', async () => {
    const setup = await start({ rules: [statusRule] })
    await rawDevice(setup, 5, { will })
    await setup.broker.disconnect('5', { cleanSession: false, preventWill: false })
    await until(() => setup.calls.length === 1, 'the will')
  })

  test('is not published when the caller of disconnect prevents it', async () => {
    const setup = await start({ rules: [statusRule] })
    const device = await rawDevice(setup, 5, { will })
    await setup.broker.disconnect('5', { cleanSession: true, preventWill: true })
    await device.closes()
    await aWhile()
    expect(setup.calls).toEqual([])
  })
})
