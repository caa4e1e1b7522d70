import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  digestOfJson,
  earlierKeyOf,
  familyOfKey,
  keyOfMessageId,
} from '../../../lib/telemetry/reading-keys.ts'

const reading = { time: 1n, fields: { t: 1 }, metadata: undefined }

describe('the key of a message id', () => {
  it('differs with the fields, the metadata, and the time that the device gave', () => {
    const keys = [
      keyOfMessageId('5', reading, true),
      keyOfMessageId('5', { ...reading, fields: { t: 2 } }, true),
      keyOfMessageId('5', { ...reading, metadata: { a: 'b' } }, true),
      keyOfMessageId('5', { ...reading, time: 2n }, true),
    ]
    expect(new Set(keys).size).toBe(4)
  })

  it('leaves out the time of arrival and what we add to the metadata', () => {
    const same = keyOfMessageId('5', reading, false)
    expect(keyOfMessageId('5', { ...reading, time: 2n }, false)).toBe(same)
    expect(keyOfMessageId('5', { ...reading, metadata: { subtopic: 'lab' } }, false)).toBe(same)
    expect(keyOfMessageId('5', { ...reading, metadata: { device_time: '36' } }, false)).toBe(same)
  })

  it('property: has a family that only the same id shares, and the key of an earlier version', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'grapheme' }), (id, other) => {
        const [key, otherKey] = [keyOfMessageId(id, reading, true), keyOfMessageId(other, reading, true)]
        const family = familyOfKey(key) ?? ''
        expect(key.length).toBe(family.length + 16)
        expect(otherKey.startsWith(family)).toBe(id === other)
        expect(earlierKeyOf(key)).toBe(`m:${id}`)
      }),
    )
  })

  it('is the only one with a family', () => {
    expect([familyOfKey('h:0:k'), earlierKeyOf('m:5')]).toEqual([undefined, undefined])
  })
})

describe('the digest of JSON', () => {
  it('property: is the same for the same text of JSON only', () => {
    const text = (value: unknown) => JSON.stringify(value)
    const pairs = [
      [[1], { 0: 1 }],
      [
        [1, [2]],
        [1, 2],
      ],
      [[[], 1], [[1]]],
      [{ a: { b: 1 }, c: 2 }, { a: { b: 1, c: 2 } }],
      ['1', 1],
      [[null], [false]],
    ]
    for (const [one, other] of pairs) expect(digestOfJson(one)).not.toBe(digestOfJson(other))
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (one, other) => {
        expect(digestOfJson(JSON.parse(text(one)))).toBe(digestOfJson(JSON.parse(text(one))))
        expect(digestOfJson(one) === digestOfJson(other)).toBe(text(one) === text(other))
      }),
    )
  })

  it('follows any depth', () => {
    const deep = (depth: number): unknown => JSON.parse('['.repeat(depth) + ']'.repeat(depth))
    expect(digestOfJson(deep(100_000))).not.toBe(digestOfJson(deep(100_001)))
  })
})
