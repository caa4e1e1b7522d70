import { generate } from 'mqtt-packet'
import { describe, expect, test } from 'vitest'
import type { AuthorizerResult } from '../../../../lib/mqtt/authorizer.ts'
import { devicePolicies } from '../../../../lib/mqtt/policy.ts'
import { defaultTopics } from '../../../../lib/mqtt/topics.ts'
import {
  authorize,
  aWhile,
  device,
  inbox,
  publishPacket,
  rawClient,
  rawDevice,
  start,
  subscribePacket,
  telemetry,
} from '../../../support/embedded-broker.ts'
import { until } from '../../../support/waiting.ts'

describe('SUBSCRIBE', () => {
  const grantedFor = async (...filters: (string | [string, 0 | 1 | 2])[]) => {
    const setup = await start()
    const client = await rawDevice(setup, 5)
    client.send(subscribePacket(...filters))
    await client.got('suback')
    return client.of('suback')[0]?.granted
  }

  test('is granted for filters within its own topics, with the QoS that was asked for', async () => {
    const own = 'iotflow/devices/5'
    expect(
      await grantedFor(
        [`${own}/commands`, 0],
        [`${own}/commands/#`, 1],
        [`${own}/commands/control`, 1],
        [`${own}/commands/+`, 1],
        [`${own}/config`, 2],
        ['iotflow/fleet/notices/#', 2],
        ['iotflow/fleet/notices/+', 0],
      ),
    ).toEqual([0, 1, 1, 1, 2, 2, 0])
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
    refused.push(
      'iotflow/devices/5/#',
      'iotflow/devices/5/+',
      'iotflow/devices/5/commandsx',
      'iotflow/fleet/+',
    )
    expect(await grantedFor('iotflow/devices/5/commands', ...refused, 'iotflow/devices/5/config')).toEqual([
      1,
      ...refused.map(() => 128),
      1,
    ])
  })

  test.each([true, false])('is granted for 50 filters at once (clean session: %s)', async (clean) => {
    const setup = await start()
    const client = await rawDevice(setup, 5, { clean })
    const filters = Array.from({ length: 52 }, (_, at) => `iotflow/devices/5/commands/${at}`)
    const granted = async (count: number, ...wanted: string[]) => {
      client.send(subscribePacket(...wanted))
      await client.got('suback', count)
      return client.of('suback')[count - 1]?.granted
    }
    expect(await granted(1, ...filters.slice(0, 51))).toEqual([...Array(50).fill(1), 128])
    client.send(generate({ cmd: 'unsubscribe', messageId: 1, unsubscriptions: filters.slice(0, 1) }))
    expect(await granted(2, ...filters.slice(1, 3), ...filters.slice(51))).toEqual([1, 1, 1])
    expect(await granted(3, ...filters.slice(50))).toEqual([128, 1])
  })

  test('with QoS 2 brings no packets with QoS 2', async () => {
    const setup = await start()
    const client = await rawDevice(setup, 5)
    client.send(subscribePacket(['iotflow/devices/5/commands/#', 2]))
    await client.got('suback')
    await setup.broker.publish({ topic: 'iotflow/devices/5/commands', payload: 'x', qos: 1, retain: false })
    await client.got('publish')
    expect(client.of('publish')[0]).toMatchObject({ qos: 1 })
  })

  test('that is refused adds nothing to the session', async () => {
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

test('tells which clients of a device are connected, or have a session', async () => {
  const setup = await start()
  const [left] = [
    await rawDevice(setup, 5, { clean: false, clientId: '5-left' }),
    await rawDevice(setup, 5, { clean: false, clientId: '5-here' }),
    await rawDevice(setup, 5, { clientId: '5-clean' }),
    await rawDevice(setup, 6),
  ]
  left.send(generate({ cmd: 'disconnect' }))
  await left.closes()
  expect([...setup.broker.clientsOf('5')].sort()).toEqual([
    ['5-clean', true],
    ['5-here', true],
    ['5-left', false],
  ])
  expect(setup.broker.clientsOf('7').size).toBe(0)
  await setup.broker.disconnect('5-left', { cleanSession: true, preventWill: true })
  expect([...setup.broker.clientsOf('5').keys()].sort()).toEqual(['5-clean', '5-here'])
})

test('UNSUBSCRIBE for names that every object has does no harm', async () => {
  const setup = await start()
  const unsubscriptions = ['constructor', '__proto__', 'toString']
  for (const clean of [true, false]) {
    const client = await rawDevice(setup, 5, { clean })
    client.send(generate({ cmd: 'unsubscribe', messageId: 1, unsubscriptions }))
    await client.got('unsuback')
    client.socket.destroy()
  }
})

describe('messages to devices', () => {
  test('reach the devices that may receive them, and no other', async () => {
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

  test('do not bring a device its own answers', async () => {
    const setup = await start()
    const own = 'iotflow/devices/5/commands'
    const client = await rawDevice(setup, 5)
    client.send(subscribePacket(`${own}/#`, `${own}/response`, `${own}/+`, `${own}/c1/response`))
    await client.got('suback')
    expect(client.of('suback')[0]?.granted).toEqual([1, 1, 1, 1])
    client.send(publishPacket(`${own}/response`, 'a', 1), publishPacket(`${own}/c1/response`, 'b', 2))
    await client.got('puback', 2)
    await setup.broker.publish({ topic: `${own}/control`, payload: 'c', qos: 1, retain: false })
    await client.got('publish')
    await aWhile()
    expect(client.of('publish').map(({ payload }) => String(payload))).toEqual(['c'])
  })

  test('do not reach a subscriber without the right to receive', async () => {
    const [connect, publish, subscribe] = devicePolicies(defaultTopics.of(5), '5')
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

  test('are not lost when they overtake each other inside aedes', async () => {
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

  test('that are retained reach later subscribers until they are cleared', async () => {
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

  test('need a topic name and an open broker', async () => {
    const setup = await start()
    const message = { topic: 'iotflow/devices/+/commands', payload: 'x', qos: 1, retain: false } as const
    await expect(setup.broker.publish(message)).rejects.toThrow('topic name')
    await setup.broker.close()
    await expect(setup.broker.publish({ ...message, topic: 'a' })).rejects.toThrow('closed')
  })
})

describe('close', () => {
  test('waits for messages in progress, acknowledges them, and accepts no more', async () => {
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

  test('resolves although a function never answers, and does not acknowledge its message', async () => {
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

  test('releases messages that are held back: they are stored, then acknowledged', async () => {
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

  test('may be called twice, and leaves no connection open', async () => {
    const setup = await start({ wsPort: 0 })
    const silent = await rawClient(setup.broker.wsPort)
    const client = await rawDevice(setup, 5)
    await Promise.all([setup.broker.close(), setup.broker.close()])
    await silent.closes()
    await client.closes()
  })
})
