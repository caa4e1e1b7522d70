import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AppError } from '../../../../lib/errors.ts'
import { fieldName, isReserved } from '../../../../lib/telemetry/payload/names.ts'
import { decodePayload } from '../../../../lib/telemetry/payload/parse.ts'
import { anyJson, asSent, legalName } from '../../../support/any-message.ts'
import { dayMs, fieldsOf, ns, parse, receivedAt } from './parsing.ts'

/** Every scalar of a message with its path, as warnings name it. */
const leavesOf = (value: unknown, path?: string): { path: string; value: unknown }[] => {
  if (value === null) return []
  if (typeof value !== 'object') return [{ path: path ?? '', value }]
  return Object.entries(value).flatMap(([key, part]) =>
    leavesOf(part, path === undefined ? key : `${path}.${key}`),
  )
}

describe('any object', () => {
  it('with one finite number under a storable name is stored, whatever stands beside it', () => {
    const number = fc.double({ noNaN: true, noDefaultInfinity: true })
    fc.assert(
      fc.property(anyJson.object, legalName, number, (others, name, value) => {
        const body = asSent({ ...others, [name]: value })
        const { readings, warnings } = parse(body)
        const found = readings.some(({ reading }) => reading.fields[name] === (value === 0 ? 0 : value))
        // An envelope can hold the same name, which goes before.
        const isSaid = warnings.some(({ code, path }) => code === 'NAME_CLASH' && path === name)
        expect(readings.length).toBeGreaterThan(0)
        expect(found || isSaid).toBe(true)
      }),
      { numRuns: 1000 },
    )
  })

  it('gives readings in which each of its values is found again or named in a warning', () => {
    fc.assert(
      fc.property(anyJson.object, (others) => {
        const { batch: _, ...rest } = others
        const body = asSent({ ...rest, kept: 1 }) as Record<string, unknown>
        const { readings, warnings } = parse(body)
        const [first] = readings
        const stored = new Set([
          ...Object.values(first?.reading.fields ?? {}),
          ...Object.values(first?.reading.metadata ?? {}),
        ])
        const said = warnings.map(({ path }) => path)
        const isSecret = (path: string) => /api_key/i.test(path.replace(/[^a-z_.]/gi, '_'))
        for (const { path, value } of leavesOf(body)) {
          if (isSecret(path) || said.length > 50) continue
          const known =
            stored.has(value as number) ||
            (value === 0 && stored.has(0)) ||
            stored.has(String(value)) ||
            stored.has(String(value).toWellFormed()) ||
            said.some((one) => one.length > 100 || path.toWellFormed().endsWith(one)) ||
            isTimeOf(first?.reading.time, value)
          expect(known, `${path} = ${String(value)}: ${said.join(' | ')}`).toBe(true)
        }
      }),
      { numRuns: 1000 },
    )
  })

  /** Whether a value became the time of the reading, as an epoch or as an age. */
  const isTimeOf = (time: bigint | undefined, value: unknown) => {
    if (time === undefined) return false
    const seconds = Number(time) / 1e9
    const number = Number(value)
    const age = receivedAt / 1000 - seconds
    return (
      [1, 1e3, 1e6, 1e9].some((unit) => Math.abs(number / unit - seconds) < 1) ||
      Math.abs(number / 1000 - age) < 1
    )
  }

  it('gives only readings that every store takes, or one error', () => {
    fc.assert(
      fc.property(
        fc.oneof(anyJson.value, fc.array(anyJson.object, { maxLength: 5 })),
        fc.boolean(),
        (value, senml) => {
          try {
            const { readings, rejected, warnings } = parse(asSent(value), {
              senml,
              timezone: 'Europe/Berlin',
            })
            expect(readings.length + rejected.length).toBeGreaterThan(0)
            for (const { reading } of readings) {
              const entries = Object.entries(reading.fields)
              expect(entries.length).toBeGreaterThan(0)
              expect(entries.length).toBeLessThanOrEqual(256)
              for (const [name, field] of entries) {
                expect(fieldName(name)).toEqual({ name, changed: false })
                expect(isReserved(name)).toBe(false)
                expect(['number', 'string', 'boolean']).toContain(typeof field)
                if (typeof field === 'number') expect(Number.isFinite(field)).toBe(true)
                if (typeof field === 'string') expect(field.isWellFormed()).toBe(true)
              }
              const metadata = Object.entries(reading.metadata ?? { a: 'at least one' })
              expect(metadata.length).toBeGreaterThan(0)
              expect(metadata.length).toBeLessThanOrEqual(34)
              for (const [name, text] of metadata) {
                expect(fieldName(name)).toEqual({ name, changed: false })
                expect(text.isWellFormed()).toBe(true)
              }
              expect(reading.time > 0n && reading.time < 2n ** 63n).toBe(true)
            }
            for (const { path, index } of warnings) {
              expect(path.isWellFormed() && path.length < 150).toBe(true)
              expect(Number.isInteger(index)).toBe(true)
            }
          } catch (error) {
            if (!(error instanceof AppError)) throw error
            expect(error.code).toMatch(/^(VALIDATION_FAILED|BATCH_TOO_LONG)$/)
          }
        },
      ),
      { numRuns: 1000 },
    )
  })

  it('of any bytes is refused as JSON or decoded', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        try {
          decodePayload(bytes)
        } catch (error) {
          expect(error).toMatchObject({ code: 'MALFORMED_JSON' })
        }
      }),
    )
  })
})

describe('a well-formed reading', () => {
  const value = fc.oneof(
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => (n === 0 ? 0 : n)),
    fc.boolean(),
    fc.string({ unit: 'grapheme', maxLength: 40 }),
  )
  const legal = fc.record({
    fields: fc.dictionary(legalName, value, { minKeys: 1, maxKeys: 20 }),
    metadata: fc.dictionary(
      legalName,
      fc.oneof(fc.string({ unit: 'grapheme', maxLength: 20 }), fc.boolean(), fc.integer()),
      { maxKeys: 5 },
    ),
    time: fc.bigInt({ min: ns(Date.UTC(2000, 0, 1)), max: ns(receivedAt) }),
    shape: fc.constantFrom('data', 'measurements', 'values', 'flat'),
  })
  type Legal = typeof legal extends fc.Arbitrary<infer T> ? T : never

  const toItem = ({ fields, metadata, time, shape }: Legal): Record<string, unknown> => ({
    ...(shape === 'flat' ? fields : { [shape]: fields }),
    metadata,
    timestamp: `${time}`,
  })
  const toReading = ({ fields, metadata, time }: Legal) => ({
    time,
    fields,
    metadata:
      Object.keys(metadata).length === 0
        ? undefined
        : Object.fromEntries(Object.entries(metadata).map(([key, each]) => [key, String(each)])),
  })

  it('is accepted and reads back exactly, in every shape', () => {
    fc.assert(
      fc.property(fc.array(legal, { minLength: 1, maxLength: 10 }), fc.boolean(), (list, bare) => {
        const items = JSON.parse(JSON.stringify(list.map(toItem)))
        const { readings, rejected, warnings } = parse(bare ? items : { batch: items })
        expect([rejected, warnings]).toEqual([[], []])
        expect(readings.map(({ reading }) => reading)).toEqual(list.map(toReading))
      }),
    )
  })

  const faults: ((item: Record<string, unknown>) => unknown)[] = [
    (item) => ({ ...item, timestamp: receivedAt - 31 * dayMs }),
    () => ({ data: {} }),
    () => ({ data: { a: [] }, location: 'Lab' }),
    () => ({ data: { api_key: 'x' } }),
    () => ({ '': 1 }),
    () => [],
    () => null,
    () => 'text',
  ]

  it('is kept although another one of its batch is refused, by its place', () => {
    const recent = legal.map((one) => ({ ...one, time: ns(receivedAt - 1000) }))
    fc.assert(
      fc.property(
        fc.array(recent, { minLength: 1, maxLength: 10 }),
        fc.nat(),
        fc.constantFrom(...faults),
        (list, at, spoil) => {
          const index = at % list.length
          const items = list.map(toItem)
          const spoiled = items.map((item, i) => (i === index ? spoil(item) : item))
          const { readings, rejected } = parse(spoiled, { retentionMs: 30 * dayMs })
          expect(rejected.map((each) => each.index)).toEqual([index])
          expect(readings.map((each) => each.index)).toEqual(
            items.map((_, i) => i).filter((i) => i !== index),
          )
        },
      ),
    )
  })
})

it('the value of an api_key is nowhere in the result, wherever and however it was sent', () => {
  const secret = 'sEcReTkEy0123456789'
  const name = fc.constantFrom(
    'api_key',
    'API_KEY',
    '_api_key',
    'api\u0000key',
    ' api_key',
    'x.api_key',
    'api_key.x',
  )
  const wrap = fc.constantFrom<(key: string) => unknown>(
    (key) => ({ t: 1, [key]: secret }),
    (key) => ({ t: 1, [key]: { a: secret, b: [secret] } }),
    (key) => ({ t: 1, [key]: [secret] }),
    (key) => ({ data: { t: 1, [key]: secret }, [key]: secret }),
    (key) => ({ values: { t: 1 }, [key]: secret }),
    (key) => ({ data: { t: 1 }, metadata: { [key]: secret, by: 'x', a: { [key]: [secret] } } }),
    (key) => ({ a: [{ b: { t: 1, [key]: secret } }] }),
    (key) => ({ batch: [{ t: 1, [key]: secret }], [key]: secret, u: 1 }),
    (key) => [{ t: 1, [key]: secret }, { [key]: secret }],
    (key) => [
      { n: key, vs: secret },
      { n: 't', v: 1, [key]: secret },
    ],
    (key) => ({ [key]: secret }),
  )
  fc.assert(
    fc.property(name, wrap, (key, make) => {
      const text = JSON.stringify(parse(make(key)), (_key, part) =>
        typeof part === 'bigint' ? String(part) : part,
      )
      expect(text).not.toContain(secret)
    }),
    { numRuns: 300 },
  )
})

it.each([
  ['lists in lists', `${'['.repeat(500_000)}${']'.repeat(500_000)}`],
  ['objects in objects', `${'{"a":'.repeat(150_000)}1${'}'.repeat(150_000)}`],
  ['objects in objects without names', `${'{"":'.repeat(150_000)}1${'}'.repeat(150_000)}`],
  ['150,000 empty objects', `{${Array.from({ length: 150_000 }, (_, i) => `"${i}":{}`).join(',')}}`],
  ['one long name', `{"${'x'.repeat(1_000_000)}":1}`],
  ['names that become empty', `{${Array.from({ length: 400 }, (_, i) => `"${'_'.repeat(i)}":1`).join(',')}}`],
])('a megabyte of %s is refused in a few words', (_name, text) => {
  const { readings, rejected } = parse(JSON.parse(text))
  expect(readings).toEqual([])
  expect(JSON.stringify(rejected).length).toBeLessThan(20_000)
})

it('150,000 names are 256 fields, and a few warnings', () => {
  const body = JSON.parse(`{${Array.from({ length: 150_000 }, (_, i) => `"n${i}":1`).join(',')}}`)
  expect(Object.keys(fieldsOf(body))).toHaveLength(256)
  expect(parse(body).warnings).toHaveLength(51)
})
