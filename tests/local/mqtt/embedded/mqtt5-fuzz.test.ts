import { connect as connectTcp } from 'node:net'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { answerTo, connectPacket, host, keyOf, start } from '../../../support/embedded-broker.ts'
import { until } from '../../../support/waiting.ts'

const text = (value: string | Buffer) => {
  const bytes = Buffer.from(value)
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes])
}
const sized = (bytes: Buffer) => {
  const length = bytes.length < 128 ? [bytes.length] : [(bytes.length & 127) | 128, bytes.length >> 7]
  return Buffer.concat([Buffer.from(length), bytes])
}
const packet = (firstByte: number, ...parts: Buffer[]) =>
  Buffer.concat([Buffer.from([firstByte]), sized(Buffer.concat(parts))])

const words = fc.constantFrom('a/b', '#', '', '__proto__', 'x\0', 'iotflow/devices/5/status')
const number = fc.constantFrom(0, 1, 2, 16, 17, 255)
const fill = (count: number) => number.map((value) => Buffer.alloc(count, value))
/** The value of a property, by the kinds that MQTT 5 knows; ids and kinds need not fit. */
const value = fc.oneof(
  fill(1),
  fill(2),
  fill(4),
  words.map(text),
  fc.tuple(words, words).map((pair) => Buffer.concat(pair.map(text))),
)
const property = fc
  .tuple(fc.integer({ min: 1, max: 43 }), value)
  .map(([id, bytes]) => Buffer.concat([Buffer.from([id]), bytes]))
const properties = fc
  .array(property, { maxLength: 3 })
  .chain((all) => fc.boolean().map((twice) => sized(Buffer.concat(twice ? [...all, ...all] : all))))

const connect = fc.tuple(properties, properties, fc.boolean()).map(([own, ofWill, hasWill]) => {
  const flags = 0xc2 | (hasWill ? 0x2c : 0)
  const will = hasWill ? [ofWill, text('iotflow/devices/5/status'), text('offline')] : []
  const header = Buffer.concat([text('MQTT'), Buffer.from([5, flags, 0, 0])])
  return packet(0x10, header, own, text('5-fuzz'), ...will, text('5'), text(keyOf(5)))
})
const id = fill(2)
const later = fc.oneof(
  fc
    .tuple(fc.constantFrom(0x30, 0x32, 0x34), words, id, properties)
    .map(([first, topic, messageId, of]) =>
      packet(first, text(topic), first === 0x30 ? Buffer.alloc(0) : messageId, of, Buffer.from('{"t":1}')),
    ),
  fc
    .tuple(id, properties, words, number)
    .map(([messageId, of, filter, options]) =>
      packet(0x82, messageId, of, text(filter), Buffer.from([options])),
    ),
  fc.tuple(id, properties, words).map(([messageId, of, filter]) => packet(0xa2, messageId, of, text(filter))),
  fc
    .tuple(fc.constantFrom(0x40, 0x50, 0x62, 0x70), id, number, properties)
    .map(([first, messageId, code, of]) => packet(first, messageId, Buffer.from([code]), of)),
  fc.tuple(number, properties).map(([code, of]) => packet(0xe0, Buffer.from([code]), of)),
  fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
)

test('no packets of MQTT 5, whatever their properties, end the broker', async () => {
  const setup = await start()
  await fc.assert(
    fc.asyncProperty(connect, fc.array(later, { maxLength: 6 }), async (first, others) => {
      const socket = connectTcp(setup.broker.port ?? 0, host)
      socket.on('error', () => {})
      let isAnswered = false
      socket.on('data', () => {
        isAnswered = true
      })
      socket.on('close', () => {
        isAnswered = true
      })
      socket.write(Buffer.concat([first, ...others]))
      await until(() => isAnswered, 'an answer or the end of the connection')
      socket.destroy()
    }),
    { numRuns: 400 },
  )
  expect(await answerTo(setup, connectPacket(6))).toBe(0)
})
