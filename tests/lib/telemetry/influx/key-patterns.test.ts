/** Patterns of field keys, read by the engine of JavaScript instead of InfluxDB's. */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { anyOfKeys, otherKeys } from '../../../../lib/telemetry/influx/key-patterns.ts'

/** Go writes the number of a character as JavaScript does with the flag u, but for its first letter. */
const matches = (pattern: string, key: string): boolean => {
  const [, source = ''] = /^\/\(\?s\)(.*)\/$/s.exec(pattern) ?? []
  return new RegExp(source.replaceAll('\\x{', '\\u{'), 'su').test(key)
}

const key = fc.oneof(
  fc.string({ unit: fc.constantFrom('a', 'b', '|', '_', '-', ']', '\n', '温', '🌡'), maxLength: 5 }),
  fc.string({ unit: 'grapheme', maxLength: 8 }),
)
const keys = fc.array(key, { maxLength: 8 })

it('any of the keys, and nothing else', () => {
  fc.assert(
    fc.property(fc.array(key, { minLength: 1, maxLength: 8 }), keys, (named, others) => {
      const pattern = anyOfKeys(named)
      for (const one of [...named, ...others])
        expect(matches(pattern, one), JSON.stringify([pattern, one])).toBe(named.includes(one))
    }),
  )
})

it('all keys but some, and but those with a beginning', () => {
  fc.assert(
    fc.property(keys, keys, keys, keys, (texts, prefixes, others, ends) => {
      const pattern = otherKeys(texts, prefixes)
      const asked = [...texts, ...prefixes, ...others]
      for (const one of asked.flatMap((begin) => [begin, ...ends.map((end) => begin + end)])) {
        const isMeant = texts.includes(one) || prefixes.some((prefix) => one.startsWith(prefix))
        expect(matches(pattern, one), JSON.stringify([pattern, one])).toBe(!isMeant)
      }
    }),
  )
})

it('all keys but some, of values that are no texts', () => {
  const pattern = otherKeys(['received_at'], ['meta_'], 'no text')
  for (const one of ['t', 't|b', 't|k', 'm', 'meta', 'received', 'received_at2', '温 |b'])
    expect(matches(pattern, one), one).toBe(true)
  for (const one of ['t|s', 'meta|s', 'meta_', 'meta_a', 'received_at', '温 |s'])
    expect(matches(pattern, one), one).toBe(false)
})

it('has no character of a key that means something in a query', () => {
  const name = '/ "\\\' ; DROP MEASUREMENT x\n\0'
  expect(anyOfKeys([name])).toMatch(/^\/\(\?s\)\^\(\?:(\w|\\x\{[0-9a-f]+\})+\)\$\/$/)
})
