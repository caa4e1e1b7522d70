import { once } from 'node:events'
import { Duplex } from 'node:stream'
import { Aedes } from 'aedes'
import fc from 'fast-check'
import { generate, type Packet, parser } from 'mqtt-packet'
import { afterEach, describe, expect, test, vi } from 'vitest'
import {
  DirectPublishing,
  type PlainPublish,
  readPlainPublish,
} from '../../../../local/mqtt/embedded/direct-publish.ts'
import { aWhile, publishPacket, rawDevice, start, telemetry } from '../../../support/embedded-broker.ts'
import { until } from '../../../support/waiting.ts'

const maxLength = 10_000

/** The packet as the parser of aedes reads it. */
const parsed = (bytes: Buffer, protocolVersion: number) => {
  let found: Packet | undefined
  const reader = parser({ protocolVersion })
  reader.on('packet', (packet) => {
    found ??= packet
  })
  reader.on('error', () => undefined)
  reader.parse(bytes)
  return found
}

const anyPublish = fc.record({
  topic: fc.string({ minLength: 1, maxLength: 40, unit: 'grapheme' }),
  payload: fc.uint8Array({ maxLength: 300 }),
  qos: fc.constantFrom(0, 1, 2),
  retain: fc.boolean(),
  dup: fc.boolean(),
  messageId: fc.integer({ min: 1, max: 65_535 }),
  protocolVersion: fc.constantFrom(3, 4, 5),
  properties: fc.constantFrom(undefined, { contentType: 'a' }),
  behind: fc.uint8Array({ maxLength: 20 }),
})

describe('a plain PUBLISH', () => {
  test('is read as aedes reads it, and no other packet is taken for one', () => {
    fc.assert(
      fc.property(anyPublish, ({ protocolVersion, behind, payload, properties, ...fields }) => {
        const dup = fields.dup && fields.qos > 0
        const all = { cmd: 'publish', ...fields, dup, payload: Buffer.from(payload), properties }
        const bytes = generate(all as Packet, { protocolVersion })
        const read = readPlainPublish(Buffer.concat([bytes, behind]), protocolVersion, maxLength)
        const hasProperties = protocolVersion === 5 && properties !== undefined
        const isPlain = !fields.retain && fields.qos < 2 && !hasProperties
        expect(read !== undefined).toBe(isPlain)
        if (read === undefined) return
        const { size, messageId, ...packet } = read
        expect(size).toBe(bytes.length)
        const asRead = parsed(bytes, protocolVersion)
        expect(asRead).toMatchObject(packet)
        expect(messageId).toBe(asRead?.messageId)
      }),
    )
  })

  test('is read only when it is complete, and not larger than allowed', () => {
    const bytes = publishPacket('a/b', 'x'.repeat(200), 7)
    for (let end = 0; end < bytes.length; end += 1)
      expect(readPlainPublish(bytes.subarray(0, end), 4, maxLength)).toBeUndefined()
    expect(readPlainPublish(bytes, 4, maxLength)).toMatchObject({ messageId: 7, size: bytes.length })
    expect(readPlainPublish(bytes, 4, bytes.length - 4)).toBeUndefined()
  })

  test.each([
    ['without a topic', [0x32, 4, 0, 0, 0, 1]],
    ['whose topic is longer than the packet', [0x30, 4, 0, 9, 97, 98]],
    ['whose packet id is cut short', [0x32, 4, 0, 1, 97, 0]],
    ['with a length of five bytes', [0x30, 0x80, 0x80, 0x80, 0x80, 1]],
    ['of QoS 3', [0x36, 5, 0, 1, 97, 0, 1]],
    ['that is a duplicate of QoS 0', [0x38, 3, 0, 1, 97]],
  ])('is not one %s', (_, bytes) => {
    expect(readPlainPublish(Buffer.from(bytes), 4, maxLength)).toBeUndefined()
  })
})

const brokers: Aedes[] = []
afterEach(async () => {
  for (const broker of brokers.splice(0)) await new Promise<void>((resolve) => broker.close(resolve))
})

/** A client of a plain aedes, and a message that it publishes past the parser. */
const publishing = async ({ isKept = false } = {}) => {
  const aedes = await Aedes.createBroker()
  brokers.push(aedes)
  const written: Buffer[] = []
  const stream = new Duplex({
    read() {},
    write(chunk, _encoding, done) {
      written.push(chunk)
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
    }),
  )
  await ready
  written.length = 0
  const published: unknown[] = []
  aedes.on('publish', ({ topic, payload }) => published.push([topic, String(payload)]))
  const durable: ((error?: Error | null) => void)[] = []
  const direct = new DirectPublishing({
    aedes,
    persistence: { isKept: async () => isKept },
    publishing: {
      authorizePublish: (_client, _packet, callback) => {
        durable.push(callback)
      },
    },
  })
  const publish = (messageId: number) =>
    direct.publish(
      client,
      readPlainPublish(publishPacket('a', `${messageId}`, messageId), 4, maxLength) as PlainPublish,
    )
  return { aedes, stream, written, published, durable, publish }
}

describe('a message past aedes', () => {
  test('is acknowledged when it is durable; those of one turn leave together', async () => {
    const { written, durable, publish } = await publishing()
    publish(1)
    publish(258)
    await aWhile(10)
    expect(written).toEqual([])
    for (const isDurable of durable) isDurable()
    await aWhile(10)
    expect(Buffer.concat(written)).toEqual(Buffer.from([0x40, 2, 0, 1, 0x40, 2, 1, 2]))
  })

  test('is published in aedes only where somebody gets it', async () => {
    const { aedes, published, durable, publish } = await publishing()
    publish(1)
    durable[0]?.()
    await aWhile(10)
    expect(published).toEqual([])
    const heard = new Promise((resolve) => {
      aedes.subscribe(
        '+',
        (packet, done) => {
          resolve(packet)
          done()
        },
        () => undefined,
      )
    })
    publish(2)
    durable[1]?.()
    expect(await heard).toMatchObject({ payload: Buffer.from('2'), clientId: 'c' })
  })

  test('is published in aedes where a session keeps it', async () => {
    const { published, durable, publish } = await publishing({ isKept: true })
    publish(1)
    durable[0]?.()
    await expect.poll(() => published).toEqual([['a', '1']])
  })

  test('is neither acknowledged nor published when its sender is gone', async () => {
    const { stream, written, published, durable, publish } = await publishing({ isKept: true })
    publish(1)
    stream.destroy()
    await aWhile(10)
    const before = published.length
    durable[0]?.()
    await aWhile(10)
    expect(written).toEqual([])
    expect(published.length).toBe(before)
  })
})

describe('telemetry that follows other telemetry', () => {
  test.each([4, 5])(
    'keeps its order among all packets of its connection, in MQTT %i',
    async (protocolVersion) => {
      const setup = await start({ hold: true })
      const client = await rawDevice(setup, 5, { protocolVersion })
      const publish = (id: number, more = {}) =>
        publishPacket(telemetry(5), `${id}`, id, { protocolVersion, ...more })
      client.send(publish(1))
      await until(() => setup.calls.length === 1, 'the first message')
      // The third one goes through aedes, and the fourth one may not overtake it.
      client.send(
        publish(2),
        publishPacket(`${telemetry(5)}/new`, '3', 3, { protocolVersion }),
        publish(4),
        Buffer.from([0xc0, 0]),
        publish(5),
      )
      await until(() => setup.calls.length === 5, 'all messages')
      const payloads = setup.calls.map(({ event }) => Buffer.from(String(event.payload), 'base64').toString())
      expect(payloads).toEqual(['1', '2', '3', '4', '5'])
      await client.got('pingresp')
      for (const call of [...setup.calls].reverse()) call.resolve()
      await client.got('puback', 5)
      const ids = client.of('puback').map(({ messageId }) => messageId)
      expect(ids).toEqual([1, 2, 3, 4, 5])
    },
  )

  test('does not pass through aedes, whatever comes in between', async () => {
    const direct = vi.spyOn(DirectPublishing.prototype, 'publish')
    const setup = await start()
    const client = await rawDevice(setup, 5)
    const publish = (id: number, more = {}) => publishPacket(telemetry(5), '1', id, more)
    client.send(publish(1))
    await client.got('puback')
    client.send(publish(2), publish(3, { dup: true }), publish(0))
    await client.got('puback', 3)
    client.send(publish(4, { qos: 2 }))
    await client.got('pubrec')
    client.send(publish(5))
    await client.got('puback', 4)
    expect(direct.mock.calls.map(([, { messageId }]) => messageId)).toEqual([2, 3, undefined, 5])
    direct.mockRestore()
  })

  test('goes on when it arrives byte by byte, in halves and many at once', async () => {
    const setup = await start()
    const client = await rawDevice(setup, 5)
    const all = Buffer.concat(
      Array.from({ length: 300 }, (_, at) => publishPacket(telemetry(5), 'x'.repeat(at), at + 1)),
    )
    let from = 0
    for (const size of [1, 1, 1, 40, 3, 500, 2, 4000]) {
      client.send(all.subarray(from, from + size))
      from += size
      await aWhile(2)
    }
    client.send(all.subarray(from))
    await client.got('puback', 300)
    expect(client.of('puback').map(({ messageId }) => messageId)).toEqual(
      Array.from({ length: 300 }, (_, at) => at + 1),
    )
    expect(setup.calls).toHaveLength(300)
  })

  test('is read on after more of it than may be in progress had to wait', async () => {
    const setup = await start()
    const client = await rawDevice(setup, 5)
    const publish = (id: number) => publishPacket(telemetry(5), 'x'.repeat(200), id)
    client.send(publish(1))
    await client.got('puback')
    // Each burst ends with a packet, so that the parser gets nothing, and only the guard can read on.
    for (const last of [200, 400, 600]) {
      client.send(...Array.from({ length: 200 }, (_, at) => publish(last - 199 + at)))
      await client.got('puback', last + 1)
    }
  })

  test('keeps its connection alive', async () => {
    const setup = await start()
    const client = await rawDevice(setup, 5, { keepalive: 1 })
    for (let id = 1; id <= 6; id += 1) {
      client.send(publishPacket(telemetry(5), '1', id))
      await aWhile(500)
    }
    expect(client.isClosed()).toBe(false)
    await client.closes()
  })

  test('too large, or with packet id 0, ends its connection', async () => {
    const setup = await start({ limits: { maxPayloadBytes: 100 } })
    for (const bad of [
      publishPacket(telemetry(5), 'x'.repeat(101), 2),
      Buffer.from(publishPacket(telemetry(5), '2', 9)),
    ]) {
      const client = await rawDevice(setup, 5)
      client.send(publishPacket(telemetry(5), '1', 1))
      await client.got('puback')
      if (bad.length < 100) bad.writeUInt16BE(0, 4 + telemetry(5).length)
      client.send(bad, publishPacket(telemetry(5), '3', 3))
      await client.closes()
      expect(client.of('puback')).toHaveLength(1)
    }
    expect(setup.calls).toHaveLength(2)
  })
})
