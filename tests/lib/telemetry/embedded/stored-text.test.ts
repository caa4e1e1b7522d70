import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  eachParsedValue,
  eachValue,
  eachValueOf,
  otherForm,
} from '../../../../lib/telemetry/embedded/stored-text.ts'
import type { FieldValue } from '../../../../lib/telemetry/reading.ts'

type Found = [second: number, name: string, value: FieldValue]
type StoredReading = { second: number; fields: Record<string, FieldValue> }

const textOf = (readings: readonly StoredReading[]) =>
  readings.map(({ second, fields }) => `${second}${JSON.stringify(fields)}`).join('\n')

const parsed = (readings: readonly StoredReading[]): Found[] =>
  readings.flatMap(({ second, fields }) =>
    Object.entries(JSON.parse(JSON.stringify(fields)) as Record<string, FieldValue>).map(
      ([name, value]): Found => [second, name, value],
    ),
  )

const allOf = (texts: string, most = Number.POSITIVE_INFINITY) => {
  const found: Found[] = []
  eachValue(texts, (...value) => found.push(value) >= most)
  return found
}

const onesOf = (texts: string, field: string) => {
  const found: Found[] = []
  eachValueOf(texts, field, (...value) => {
    found.push(value)
    return false
  })
  return found
}

const value: fc.Arbitrary<FieldValue> = fc.oneof(
  fc.integer(),
  fc.integer({ min: -40_000_000, max: 40_000_000 }).map((n) => n / 1e6),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.boolean(),
  fc.string({ unit: 'binary' }),
  fc.constantFrom('"t":1', '\\"t":2}\n', 'a\\', '","t":3', ': x', 0.1, 123456789012345.6, 1e21, 5e-324),
)
const readings = fc.array(
  fc.record({
    second: fc.integer({ min: 0, max: 4_000_000_000 }),
    fields: fc.dictionary(fc.constantFrom('t', 'tt', 'a:b', '温 °C', '7', ':', 'x'), value, {
      minKeys: 1,
      noNullPrototype: true,
    }),
  }),
  { minLength: 1, maxLength: 6 },
)

describe('stored texts', () => {
  it('have the values that JSON.parse finds, to the last bit', () => {
    fc.assert(
      fc.property(readings, (some) => {
        expect(allOf(textOf(some))).toEqual(parsed(some))
        for (const field of ['t', 'a:b', ':', 'none'])
          expect(onesOf(textOf(some), field)).toEqual(parsed(some).filter(([, name]) => name === field))
      }),
      { numRuns: 500 },
    )
  })

  it('of one field are not those of a name, or a text, that has its name inside', () => {
    expect(onesOf('1{"a":": 5","b":2}', ':')).toEqual([])
    expect(onesOf('1{"x\\"a":3,"b":2}', 'a')).toEqual([])
  })

  it.each(['1{"a": 1, "b": "x"}', '1{"b":"x", "a":1}', '1{"b":"x" ,"a":1}', '1{ "a":1,"b":"x"}'])(
    'of another form are told apart, and parsed: %s',
    (texts) => {
      const found: Found[] = []
      const take = (...one: Found) => {
        found.push(one)
        return false
      }
      expect(() => eachValue(texts, take)).toThrow(otherForm)
      found.length = 0
      eachParsedValue(texts, undefined, take)
      expect(found).toHaveLength(2)
      expect(found).toContainEqual([1, 'a', 1])
      found.length = 0
      eachParsedValue(texts, 'b', take)
      expect(found).toEqual([[1, 'b', 'x']])
    },
  )

  it.each(['1{}', '1{"a":null}', '1{"a":{"b":1}}', '1{"a":1', '1{"a', '1{"a":"b', '1'])(
    'that no reading has end with an error, too: %s',
    (texts) => expect(() => eachValue(texts, () => false)).toThrow(otherForm),
  )

  it('are read no further than wanted', () => {
    const texts = textOf([
      { second: 1, fields: { a: 1, b: 2 } },
      { second: 2, fields: { a: 3 } },
    ])
    expect(allOf(texts, 2)).toEqual([
      [1, 'a', 1],
      [1, 'b', 2],
    ])
  })
})
