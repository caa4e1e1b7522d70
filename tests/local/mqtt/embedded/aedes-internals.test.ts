import { EventEmitter, once } from 'node:events'
import { readFileSync } from 'node:fs'
import { Duplex } from 'node:stream'
import { Aedes, type Client, type ConnectPacket } from 'aedes'
import { generate, type Packet, parser } from 'mqtt-packet'
import { afterEach, expect, test } from 'vitest'
import {
  type AedesInternals,
  announceClientId,
  checkedAedesVersion,
  containErrors,
  disableDuplicateDetection,
  discardDelayedWill,
  discardWill,
  hasDisconnected,
  hasListeners,
  interceptDeliveries,
  onParsedPacket,
  publishInAedes,
  readNextPackets,
  refreshKeepAlive,
  restoreClient,
  subscriptionsOf,
  takePacketId,
} from '../../../../local/mqtt/embedded/aedes-internals.ts'

const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as { dependencies: Record<string, string> }
const installed = JSON.parse(readFileSync('node_modules/aedes/package.json', 'utf8')) as {
  version: string
  dependencies: Record<string, string>
}

const brokers: Aedes[] = []
afterEach(async () => {
  for (const broker of brokers.splice(0)) await new Promise<void>((resolve) => broker.close(resolve))
})

const will = { topic: 'gone', payload: Buffer.from('x'), qos: 0 as const, retain: false }
const subscribe = (messageId: number) =>
  generate({ cmd: 'subscribe', messageId, subscriptions: [{ topic: 'a', qos: 2 }] })

/** A client of a plain aedes that has its CONNACK, over a stream in memory. */
const connectedClient = async (
  options: ConstructorParameters<typeof Aedes>[0] = {},
  connect: { protocolVersion?: 5; will?: object; properties?: object } = {},
) => {
  const aedes = await Aedes.createBroker(options)
  brokers.push(aedes)
  const answers: Packet[] = []
  const reader = parser({ protocolVersion: connect.protocolVersion ?? 4 })
  reader.on('packet', (packet) => answers.push(packet))
  const stream = new Duplex({
    read() {},
    write(chunk, _encoding, done) {
      reader.parse(chunk)
      done()
    },
  })
  const client = aedes.handle(stream)
  const ready = once(aedes, 'clientReady')
  stream.push(
    generate({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 4,
      clean: true,
      clientId: 'c',
      keepalive: 0,
      will,
      ...connect,
    } as Packet),
  )
  await ready
  return { aedes, answers, client, stream, internals: client as unknown as AedesInternals }
}

test('aedes and its persistence are pinned exactly, to the version that was checked', () => {
  expect(manifest.dependencies.aedes).toBe(checkedAedesVersion)
  expect(installed.version).toBe(checkedAedesVersion)
  expect(installed.dependencies['aedes-persistence']).toBe(`^${manifest.dependencies['aedes-persistence']}`)
})

test('a client has the private members that the broker uses', async () => {
  const { aedes, client, internals } = await connectedClient()
  expect(internals._parser).toBeInstanceOf(EventEmitter)
  expect(internals._parser.listenerCount('packet')).toBe(1)
  expect(internals._parsingBatch).toBe(0)
  expect(typeof internals.duplicates).toBe('object')
  expect(internals._disconnected).toBe(false)
  expect((aedes as unknown as { clients: Record<string, Client> }).clients.c).toBe(client)
})

test('packets are seen before aedes handles them, and it ends the connection at one that it may not handle', async () => {
  const { answers, client, stream } = await connectedClient()
  const seen: string[] = []
  onParsedPacket(client, ({ cmd }) => {
    seen.push(`${cmd} after ${answers.at(-1)?.cmd}`)
    return cmd !== 'unsubscribe'
  })
  stream.push(subscribe(1))
  await expect.poll(() => answers.at(-1)?.cmd).toBe('suback')
  expect(seen).toEqual(['subscribe after connack'])
  stream.push(generate({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: ['a'] }))
  await expect.poll(() => stream.destroyed).toBe(true)
  expect(answers.at(-1)?.cmd).toBe('suback')
})

test('an error that aedes throws at a packet ends its connection', async () => {
  const { aedes, client, stream } = await connectedClient({
    authorizePublish: (_client, { topic }, callback) => {
      if (topic === 'a') throw new Error('broken')
      callback(null)
    },
  })
  containErrors(client)
  const failed = once(aedes, 'clientError')
  stream.push(generate({ cmd: 'publish', topic: 'a', payload: 'x', qos: 0, retain: false, dup: false }))
  expect((await failed)[1]).toMatchObject({ message: 'broken' })
  await expect.poll(() => stream.destroyed).toBe(true)
})

test('deliveries wait for the one who intercepts them', async () => {
  const { aedes, answers, client, stream } = await connectedClient()
  const held: string[] = []
  const deliveries: (() => void)[] = []
  const hold = (name: string) => (deliver: (done: () => void) => void, done: () => void) => {
    held.push(name)
    deliveries.push(() => deliver(() => {}))
    done()
  }
  interceptDeliveries(client, {
    acknowledged: hold('acknowledged'),
    unacknowledged: hold('unacknowledged'),
  })
  const subscriptions = [
    { topic: 'a/+', qos: 2 as const },
    { topic: 'a/lowered', qos: 0 as const },
  ]
  stream.push(generate({ cmd: 'subscribe', messageId: 1, subscriptions }))
  await expect.poll(() => answers.at(-1)?.cmd).toBe('suback')
  const send = (topic: string, qos: 0 | 1) =>
    new Promise<void>((resolve) => {
      const packet = { cmd: 'publish' as const, topic, payload: 'x', qos, retain: false, dup: false }
      aedes.publish(packet, () => resolve())
    })
  await send('a/b', 1)
  await send('a/b', 0)
  expect(held).toEqual(['acknowledged', 'unacknowledged'])
  await send('a/lowered', 1)
  expect(held.slice(2)).toEqual(['unacknowledged', 'unacknowledged'])
  expect(answers.at(-1)?.cmd).toBe('suback')
  for (const deliver of deliveries.slice(0, 2)) deliver()
  await expect.poll(() => answers.filter(({ cmd }) => cmd === 'publish')).toHaveLength(2)
})

test('aedes reads on only when its packets are done, unless it is told to', async () => {
  const held: ((error: null) => void)[] = []
  const { client, stream, internals } = await connectedClient({
    authorizePublish: (_client, _packet, callback) => void held.push(callback),
  })
  const publish = (payload: string) =>
    generate({ cmd: 'publish', topic: 'a', payload, qos: 0, retain: false, dup: false })
  stream.push(Buffer.concat([publish('1'), publish('2')]))
  await expect.poll(() => held.length).toBe(2)
  expect(internals._parsingBatch).toBe(2)
  stream.push(publish('3'))
  await new Promise((resolve) => setImmediate(resolve))
  expect(held).toHaveLength(2)
  readNextPackets(client)
  stream.push(publish('4'))
  await expect.poll(() => held.length).toBe(4)
})

test.each([false, true])(
  'a message with a lower number is delivered with the check turned off: %s',
  async (off) => {
    const { aedes, answers, client, stream } = await connectedClient()
    if (off) disableDuplicateDetection(client, aedes.id)
    stream.push(subscribe(1))
    await expect.poll(() => answers.at(-1)?.cmd).toBe('suback')
    const send = (brokerCounter: number) =>
      new Promise<void>((resolve) => {
        const packet = {
          cmd: 'publish',
          topic: 'a',
          payload: 'x',
          qos: 0,
          retain: false,
          dup: false,
          brokerId: aedes.id,
          brokerCounter,
        }
        aedes.publish(packet as unknown as Parameters<Aedes['publish']>[0], () => resolve())
      })
    await send(9)
    await send(8)
    const deliveries = () => answers.filter(({ cmd }) => cmd === 'publish').length
    await expect.poll(deliveries).toBe(off ? 2 : 1)
  },
)

test.each([false, true])(
  'the will is the one of the CONNECT, and a will that is discarded (%s) is not published',
  async (discarded) => {
    const asked: unknown[] = []
    const connects: ConnectPacket[] = []
    const { aedes, client, internals } = await connectedClient({
      preConnect: (_client, packet, callback) => {
        connects.push(packet)
        callback(null, true)
      },
      authorizePublish: (_client, packet, callback) => {
        asked.push(packet)
        callback(null)
      },
    })
    const kept = connects[0]?.will
    expect(kept).toMatchObject({ topic: 'gone' })
    expect(internals.will).toBe(kept)
    if (discarded) discardWill(client)
    const gone = once(aedes, 'clientDisconnect')
    client.close()
    await gone
    expect(asked.filter((packet) => packet === kept)).toHaveLength(discarded ? 0 : 1)
  },
)

test.each([false, true])('a delayed will is published, unless it is discarded (%s)', async (discarded) => {
  const asked: unknown[] = []
  const { aedes, client } = await connectedClient(
    {
      authorizePublish: (_client, packet, callback) => {
        asked.push(packet)
        callback(null)
      },
    },
    {
      protocolVersion: 5,
      will: { ...will, properties: { willDelayInterval: 1 } },
      properties: { sessionExpiryInterval: 60 },
    },
  )
  const gone = once(aedes, 'clientDisconnect')
  client.close()
  await gone
  if (discarded) discardDelayedWill(aedes, 'c')
  await new Promise((resolve) => setTimeout(resolve, 1200))
  expect(asked).toHaveLength(discarded ? 0 : 1)
})

test('CONNACK tells the client id that the broker has chosen', async () => {
  const { answers } = await connectedClient(
    {
      authenticate: (client, _username, _password, done) => {
        announceClientId(client)
        done(null, true)
      },
    },
    { protocolVersion: 5 },
  )
  expect(answers[0]).toMatchObject({ cmd: 'connack', properties: { assignedClientIdentifier: 'c' } })
})

test('an end with and without DISCONNECT can be told apart', async () => {
  const { aedes, client, stream } = await connectedClient()
  expect(hasDisconnected(client)).toBe(false)
  const gone = once(aedes, 'clientDisconnect')
  stream.push(generate({ cmd: 'disconnect' }))
  await gone
  expect(hasDisconnected(client)).toBe(true)
})

test('a client that was removed by its id can be put back, and keeps its session', async () => {
  const { aedes, client, stream } = await connectedClient({}, { protocolVersion: 5 })
  const { clients } = aedes as unknown as { clients: Record<string, Client> }
  const wiped: unknown[] = []
  const { persistence } = aedes as unknown as {
    persistence: { cleanSubscriptions(client: unknown): unknown }
  }
  persistence.cleanSubscriptions = async (of) => void wiped.push(of)
  const newer = { id: 'c' } as Client
  aedes.once('clientDisconnect', () => restoreClient(aedes, newer, client))
  const gone = once(aedes, 'clientDisconnect')
  stream.destroy()
  await gone
  expect(clients.c).toBe(newer)
  expect(wiped).toEqual([])
  delete clients.c
})

test('the subscriptions of a client have their QoS', async () => {
  const { aedes, client, stream } = await connectedClient()
  const subscribed = once(aedes, 'subscribe')
  stream.push(subscribe(1))
  await subscribed
  expect(subscriptionsOf(client)).toEqual([['a', 2]])
})

test('a message may bring its packet id, and aedes gives the next one to the message behind it', async () => {
  const ids: number[] = []
  const { aedes, answers, client, stream, internals } = await connectedClient({
    authorizeForward(receiver, packet) {
      if (packet.payload.toString() === 'own') {
        packet.messageId = takePacketId(receiver)
        ids.push(packet.messageId)
      }
      return packet
    },
  })
  internals._nextId = 65_535
  const subscribed = once(aedes, 'subscribe')
  stream.push(subscribe(1))
  await subscribed
  for (const payload of ['own', 'other'])
    await new Promise<void>((resolve) =>
      aedes.publish(
        { cmd: 'publish', topic: 'a', payload: Buffer.from(payload), qos: 1, retain: false, dup: false },
        () => resolve(),
      ),
    )
  await expect
    .poll(() => answers.flatMap((packet) => (packet.cmd === 'publish' ? [packet.messageId] : [])))
    .toEqual([65_535, 1])
  expect(ids).toEqual([65_535])
  expect(client.closed).toBe(false)
})

test('a topic has a listener while a client subscribes to it, and aedes publishes to that one', async () => {
  const { aedes, answers, client, stream } = await connectedClient()
  const packet = { cmd: 'publish' as const, topic: 'a', payload: Buffer.from('x'), qos: 1 as const }
  expect(hasListeners(aedes, 'a')).toBe(false)
  stream.push(subscribe(1))
  await expect.poll(() => answers.at(-1)?.cmd).toBe('suback')
  expect(hasListeners(aedes, 'a')).toBe(true)
  expect(hasListeners(aedes, 'b')).toBe(false)
  publishInAedes(aedes, client, packet as unknown as Parameters<typeof publishInAedes>[2])
  await expect.poll(() => answers.at(-1)).toMatchObject({ cmd: 'publish', topic: 'a', qos: 1 })
  stream.push(generate({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: ['a'] }))
  await expect.poll(() => hasListeners(aedes, 'a')).toBe(false)
})

test('a keep alive can be refreshed', async () => {
  const without = await connectedClient()
  refreshKeepAlive(without.client)
  expect(without.internals._keepaliveTimer).toBe(null)
  const { client, internals } = await connectedClient({}, { keepalive: 100 } as object)
  expect(internals._keepaliveInterval).toBeGreaterThanOrEqual(150_000)
  expect(typeof internals._keepaliveTimer?.refresh).toBe('function')
  refreshKeepAlive(client)
})
