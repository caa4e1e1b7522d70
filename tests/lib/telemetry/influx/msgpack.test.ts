/** MessagePack of InfluxDB, however the network cuts it. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { unpack } from '../../../../lib/telemetry/influx/msgpack.ts'
import { pack } from '../../../support/influx-server.ts'

async function* inPieces(bytes: Buffer, size: number): AsyncGenerator<Uint8Array> {
  for (let from = 0; from < bytes.length; from += size) yield bytes.subarray(from, from + size)
}

const unpacked = async (bytes: Buffer, size = bytes.length) => {
  const values: unknown[] = []
  for await (const value of unpack(inPieces(bytes, size))) values.push(value)
  return values
}

describe('the values of an answer', () => {
  const value = fc.letrec((tie) => ({
    one: fc.oneof(
      { maxDepth: 3 },
      fc.constantFrom(null, true, false),
      fc.double({ noNaN: true }),
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
      fc.string({ unit: 'grapheme' }),
      fc.array(tie('one'), { maxLength: 20 }),
      fc.dictionary(fc.string(), tie('one'), { maxKeys: 20, noNullPrototype: true }),
    ),
  })).one

  it('are the same in pieces of any size', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(value, { maxLength: 6 }),
        fc.integer({ min: 1, max: 300 }),
        async (values, size) => {
          expect(await unpacked(Buffer.concat(values.map(pack)), size)).toEqual(values)
        },
      ),
    )
  })

  it.each([
    ['7f', 127],
    ['e0', -32],
    ['cc80', 128],
    ['cdffff', 65_535],
    ['ceffffffff', 4_294_967_295],
    ['cfffffffffffffffff', 2n ** 64n - 1n],
    ['d080', -128],
    ['d18000', -32_768],
    ['d280000000', -2_147_483_648],
    ['ca3fc00000', 1.5],
    ['a161', 'a'],
    ['d90161', 'a'],
    ['db0000000161', 'a'],
    ['dd00000001c0', [null]],
    ['df00000001a161c3', { a: true }],
  ])('have every form that a number, a text or a list can have: %s', async (hex, expected) => {
    expect(await unpacked(Buffer.from(hex, 'hex'))).toEqual([expected])
  })

  it('are not taken from an answer that was cut off, or has something else', async () => {
    const whole = pack({ results: [1, 'two'] })
    for (let length = 1; length < whole.length; length += 1)
      await expect(unpacked(whole.subarray(0, length))).rejects.toThrow('ends in the middle')
    await expect(unpacked(Buffer.from('c1', 'hex'))).rejects.toThrow('MessagePack of type 193')
  })
})
