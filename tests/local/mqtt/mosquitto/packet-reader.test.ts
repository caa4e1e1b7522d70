/** Packets of a broker, however the network cuts them; mqtt-packet writes them, and says what they mean. */
import fc from 'fast-check'
import mqttPacket, { type Packet } from 'mqtt-packet'
import { describe, expect, it, vi } from 'vitest'
import { PacketReader, type ReceivedMessage } from '../../../../local/mqtt/mosquitto/packet-reader.ts'

interface Read {
  readonly messages: ReceivedMessage[]
  readonly packets: Packet[]
  errors: number
}

/** @param sizes lengths of the chunks in which the bytes come, again from the first after the last. */
const read = (bytes: Buffer, version: 4 | 5, sizes: readonly number[] = [bytes.length]): Read => {
  const found: Read = { messages: [], packets: [], errors: 0 }
  const reader = new PacketReader(version, {
    onMessage: (message) => found.messages.push(message),
    onPacket: (packet) => found.packets.push(packet),
    onError: () => {
      found.errors += 1
    },
  })
  for (let at = 0, turn = 0; at < bytes.length && found.errors === 0; turn += 1) {
    const size = sizes[turn % sizes.length] ?? 1
    reader.read(Buffer.from(bytes.subarray(at, at + size)))
    at += size
  }
  return found
}

const generate = (packet: object, version: 4 | 5) =>
  mqttPacket.generate(packet as Packet, { protocolVersion: version })

const publish = (more: object, version: 4 | 5 = 5) =>
  generate(
    { cmd: 'publish', topic: 'a/b', payload: '1', qos: 1, messageId: 7, dup: false, retain: false, ...more },
    version,
  )

const message = fc.record({
  topic: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }).filter((text) => !/[+#\0]/.test(text)),
  payload: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
  qos: fc.constantFrom(0 as const, 1 as const),
  messageId: fc.integer({ min: 1, max: 65_535 }),
  retain: fc.boolean(),
  properties: fc.constantFrom(undefined, {
    correlationData: Buffer.from('x'),
    userProperties: { note: 'kept by nobody' },
  }),
})

describe('a reader of packets', () => {
  it('finds the same messages however their bytes are cut', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(4 as const, 5 as const),
        fc.array(message, { minLength: 1, maxLength: 12 }),
        fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 5 }),
        (version, messages, sizes) => {
          const bytes = Buffer.concat(
            messages.map(({ properties, ...one }) =>
              publish({ ...one, dup: one.qos === 1, ...(version === 5 && { properties }) }, version),
            ),
          )
          expect(read(bytes, version, sizes)).toEqual({
            messages: messages.map(({ topic, payload, qos, messageId, retain, properties }) => ({
              ...{ topic, payload, qos, retain, dup: qos === 1, id: qos === 0 ? 0 : messageId },
              correlationData: version === 5 ? properties?.correlationData : undefined,
            })),
            packets: [],
            errors: 0,
          })
        },
      ),
    )
  })

  it('leaves other packets between messages to the library', () => {
    const bytes = Buffer.concat([
      generate({ cmd: 'connack', returnCode: 0, reasonCode: 0, sessionPresent: true }, 5),
      publish({}),
      generate({ cmd: 'pingresp' }, 5),
      publish({ messageId: 8 }),
    ])
    for (const sizes of [[bytes.length], [1], [3, 7]]) {
      const { messages, packets } = read(bytes, 5, sizes)
      expect(packets.map(({ cmd }) => cmd)).toEqual(['connack', 'pingresp'])
      expect(messages.map(({ id }) => id)).toEqual([7, 8])
    }
  })

  it('joins a large message once, however many chunks bring it', () => {
    const bytes = Buffer.concat([publish({ payload: Buffer.alloc(1_000_000) }), publish({ messageId: 8 })])
    const concat = vi.spyOn(Buffer, 'concat')
    const { messages } = read(bytes, 5, [1000])
    const joined = concat.mock.results.reduce((sum, { value }) => sum + (value as Buffer).length, 0)
    concat.mockRestore()
    expect(messages.map(({ id, payload }) => [id, payload.length])).toEqual([
      [7, 1_000_000],
      [8, 1],
    ])
    expect(joined).toBeLessThan(2 * bytes.length)
  })

  it('gives each message a payload of its own', () => {
    const chunk = publish({ payload: 'before' })
    let kept: Buffer | undefined
    const reader = new PacketReader(5, {
      onMessage: ({ payload }) => {
        kept = payload
      },
      onPacket: () => undefined,
      onError: () => undefined,
    })
    reader.read(chunk)
    chunk.fill(0)
    expect(kept?.toString()).toBe('before')
  })

  it.each([
    ['no length', Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff, 0x01])],
    ['two bits for QoS', Buffer.from([0x36, 0x05, 0x00, 0x01, 0x61, 0x00, 0x01])],
    ['a topic that is longer than the packet', Buffer.from([0x30, 0x04, 0x00, 0x09, 0x61, 0x00])],
  ])('refuses %s', (_what, bytes) => {
    const { messages, errors } = read(bytes, 5)
    expect({ messages: messages.length, errors }).toEqual({ messages: 0, errors: 1 })
  })
})
