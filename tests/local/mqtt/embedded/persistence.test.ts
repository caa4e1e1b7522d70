import type { Readable } from 'node:stream'
import { Aedes, type AedesPublishPacket, type Client } from 'aedes'
import { afterEach, describe, expect, test } from 'vitest'
import { Handshakes } from '../../../../local/mqtt/embedded/handshakes.ts'
import { BrokerPersistence } from '../../../../local/mqtt/embedded/persistence.ts'

const brokers: Aedes[] = []
afterEach(async () => {
  for (const broker of brokers.splice(0)) await new Promise<void>((resolve) => broker.close(resolve))
})

/** A persistence in a running aedes. It stores subscriptions to filters, and messages on topics, without "refused". */
const open = async () => {
  const persistence = new BrokerPersistence({
    mayStore: (_client, filter) => !filter.includes('refused'),
    mayReceive: (_clientId, { topic }) => !topic.includes('refused'),
    handshakes: new Handshakes(),
    windowOf: () => undefined,
  })
  brokers.push(await Aedes.createBroker({ persistence }))
  return persistence
}
const packet = (topic: string, payload: string | Buffer, more: object = {}) =>
  ({
    cmd: 'publish',
    topic,
    payload: Buffer.from(payload),
    qos: 1,
    retain: true,
    dup: false,
    ...more,
  }) as unknown as AedesPublishPacket
const topics = async (stream: Readable) => {
  const found: string[] = []
  for await (const { topic } of stream) found.push(topic)
  return found
}
const client = (id: string, clean = false) => ({ id, clean }) as unknown as Client

describe('retained messages', () => {
  test('are found by topic and by filter, and removed by an empty payload', async () => {
    const persistence = await open()
    for (const topic of ['a', 'a/b', 'a/b/c', 'b', '$x/b'])
      await persistence.storeRetained(packet(topic, topic))
    const find = (...filters: string[]) => topics(persistence.createRetainedStreamCombi(filters))
    expect(await find('a/b', 'b', 'none')).toEqual(['a/b', 'b'])
    expect(await find('a/#')).toEqual(['a', 'a/b', 'a/b/c'])
    expect(await find('a/+')).toEqual(['a/b'])
    expect(await find('+/b')).toEqual(['a/b'])
    await persistence.storeRetained(packet('a/b', ''))
    expect(await find('a/b')).toEqual([])
    expect(persistence.retained('a/b')).toBeUndefined()
    expect(persistence.retainedTopics()).toEqual(['a', 'a/b/c', 'b', '$x/b'])
  })

  test('are gone when they have expired', async () => {
    const persistence = await open()
    await persistence.storeRetained(packet('old', 'x', { messageExpiry: Date.now() - 1 }))
    await persistence.storeRetained(packet('new', 'x', { messageExpiry: Date.now() + 60_000 }))
    expect(persistence.retainedTopics()).toEqual(['new'])
    expect(persistence.retained('old')).toBeUndefined()
  })

  test('do not keep the chunk of the socket', async () => {
    const persistence = await open()
    const chunk = Buffer.from('xxhixx')
    await persistence.storeRetained({ ...packet('a', ''), payload: chunk.subarray(2, 4) })
    chunk.fill('y')
    expect(String(persistence.retained('a')?.payload)).toBe('hi')
  })
})

describe('a session', () => {
  const queued = async (persistence: BrokerPersistence, id: string) =>
    topics(persistence.outgoingStream({ id }))

  test('has the granted subscriptions only', async () => {
    const persistence = await open()
    const subscriptions = ['own', 'refused'].map((topic) => ({ topic, qos: 1 as const }))
    await persistence.addSubscriptions(client('c'), subscriptions)
    const stored = await persistence.subscriptionsByClient({ id: 'c' })
    expect(stored.map(({ topic }) => topic)).toEqual(['own'])
    expect(await persistence.subscriptionsByTopic('refused')).toEqual([])
  })

  test('gets one copy of a message, however many of its subscriptions match', async () => {
    const persistence = await open()
    const queues = ['c', 'c', 'd'].map((clientId) => ({ clientId }))
    await persistence.outgoingEnqueueCombi(queues, packet('t', 'x'))
    expect(await queued(persistence, 'c')).toEqual(['t'])
    expect(await queued(persistence, 'd')).toEqual(['t'])
  })

  test('loses a queued message by its packet id only', async () => {
    const persistence = await open()
    await persistence.outgoingEnqueueCombi([{ clientId: 'c' }], packet('t', 'x'))
    await persistence.outgoingClearMessageId(client('c'), { cmd: 'publish' })
    await persistence.outgoingClearMessageId(client('c', true), { cmd: 'puback', messageId: 1 })
    expect(await queued(persistence, 'c')).toEqual(['t'])
  })

  test('queues no messages that its client may not receive', async () => {
    const persistence = await open()
    for (const topic of ['refused', 't'])
      await persistence.outgoingEnqueueCombi([{ clientId: 'c' }], packet(topic, 'x'))
    expect(await queued(persistence, 'c')).toEqual(['t'])
  })

  test('has at most 1,000 messages and 1 MiB of payloads: the oldest that were not sent go first', async () => {
    const persistence = await open()
    const add = (topic: string, bytes: number, brokerCounter: number) =>
      persistence.outgoingEnqueue(
        { clientId: 'c' },
        packet(topic, Buffer.alloc(bytes), { brokerId: 'b', brokerCounter }),
      )
    for (let at = 1; at <= 1001; at += 1) {
      await add(`t${at}`, 1, at)
      if (at === 1)
        await persistence.outgoingUpdate({ id: 'c' }, { brokerId: 'b', brokerCounter: 1, messageId: 9 })
    }
    const many = await queued(persistence, 'c')
    expect([many.length, many[0], many[1], many.at(-1)]).toEqual([1000, 't1', 't3', 't1001'])
    await add('large', 1024 * 1024 - 2, 1002)
    expect(await queued(persistence, 'c')).toEqual(['t1', 't1001', 'large'])
    await add('larger', 1024 * 1024, 1003)
    expect(await queued(persistence, 'c')).toEqual(['t1'])
  })

  test('is deleted with its subscriptions and queued messages', async () => {
    const persistence = await open()
    await persistence.addSubscriptions(client('c'), [{ topic: 'own', qos: 1 }])
    for (const topic of ['t', 'u'])
      await persistence.outgoingEnqueueCombi([{ clientId: 'c' }], packet(topic, 'x'))
    await persistence.cleanSubscriptions({ id: 'c' })
    expect(await persistence.subscriptionsByClient({ id: 'c' })).toEqual([])
    expect(await queued(persistence, 'c')).toEqual([])
  })
})

test('wills of other brokers are not published', async () => {
  const persistence = await open()
  await persistence.putWill({ id: 'c' }, packet('gone', 'x'))
  expect(await topics(persistence.streamWill())).toEqual([])
  expect(await persistence.delWill({ id: 'c' })).toMatchObject({ topic: 'gone' })
})
