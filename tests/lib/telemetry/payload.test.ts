import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AppError } from '../../../lib/errors.ts'
import { nextRequestId } from '../../../lib/request-id.ts'
import { type Arrival, arrivalTime, parsePayload } from '../../../lib/telemetry/payload.ts'
import type { Rejection } from '../../../lib/telemetry/reading.ts'

const receivedAt = Date.parse('2026-11-24T08:00:00.000Z')
const dayMs = 86_400_000
const arrival: Arrival = { receivedAt, messageId: '0'.repeat(24), retentionMs: 0 }
const ns = (ms: number) => BigInt(ms) * 1_000_000n

const one = (body: unknown, more: Partial<Arrival> = {}) => {
  const { readings, rejected } = parsePayload(body, { ...arrival, ...more })
  expect(rejected).toEqual([])
  expect(readings).toHaveLength(1)
  const [first] = readings
  if (first === undefined) throw new Error('none')
  return first
}
const fieldsOf = (body: unknown) => one(body).reading.fields

const rejection = (body: unknown, more: Partial<Arrival> = {}): Rejection => {
  const { readings, rejected } = parsePayload(body, { ...arrival, ...more })
  expect(readings).toEqual([])
  const [first] = rejected
  if (first === undefined || rejected.length > 1) throw new Error(`${rejected.length} rejections`)
  return first
}
const pathsOf = (body: unknown, more: Partial<Arrival> = {}) =>
  rejection(body, more).details.map(({ path }) => path)

const refusal = (body: unknown): AppError => {
  try {
    parsePayload(body, arrival)
  } catch (error) {
    if (error instanceof AppError) return error
  }
  throw new Error('not refused as a whole')
}

describe('shapes', () => {
  it.each([
    ['data', { data: { t: 1 } }],
    ['measurements', { measurements: { t: 1 } }],
    ['flat', { t: 1 }],
    ['ts and values', { ts: receivedAt, values: { t: 1 } }],
    ['values alone', { values: { t: 1 } }],
  ])('takes %s', (_name, body) => {
    expect(fieldsOf(body)).toEqual({ t: 1 })
    expect(parsePayload(body, arrival).batch).toBe(false)
    for (const list of [[body], { batch: [body] }]) {
      const { readings, batch } = parsePayload(list, arrival)
      expect(batch).toBe(true)
      expect(readings).toMatchObject([{ index: 0, reading: { fields: { t: 1 } } }])
    }
  })

  it('keeps a nested object called values as what it is when other readings stand beside it', () => {
    expect(fieldsOf({ values: { t: 1 }, u: 2 })).toEqual({ 'values.t': 1, u: 2 })
  })

  it('ignores what it does not know beside data', () => {
    expect(fieldsOf({ data: { t: 1 }, extra: [1, 2], device_id: 9 })).toEqual({ t: 1 })
  })

  it('refuses data beside measurements', () => {
    expect(pathsOf({ data: { t: 1 }, measurements: { t: 2 } })).toEqual(['measurements'])
  })

  it.each([[{ data: 1 }], [{ data: [1] }], [{ data: null }], [{ data: 'x' }]])('refuses %j', (body) => {
    expect(pathsOf(body)).toEqual(['data'])
  })

  it.each([[{}], [{ data: {} }], [{ t: null }], [{ data: { a: {} } }], [{ timestamp: 1_795_507_200 }]])(
    'refuses a reading without a value: %j',
    (body) => {
      expect(rejection(body).message).toContain('has no value to store')
    },
  )

  it.each([[null], [1], ['text'], [true]])('refuses %j as a whole', (body) => {
    expect(refusal(body)).toMatchObject({ code: 'VALIDATION_FAILED', details: [{ path: '' }] })
  })

  it('takes 1000 readings and neither 0 nor 1001', () => {
    const items = (n: number) => Array.from({ length: n }, (_, t) => ({ t }))
    expect(parsePayload(items(1000), arrival).readings).toHaveLength(1000)
    expect(refusal(items(1001)).message).toContain('at most 1000')
    expect(refusal([]).message).toContain('empty')
    expect(refusal({ batch: [] }).details).toEqual([{ path: 'batch', message: 'is an empty list' }])
    expect(refusal({ batch: items(1), data: { t: 1 } }).details?.[0]?.path).toBe('batch')
  })

  it('refuses a batch in a batch, and what is no object, by their places', () => {
    const { readings, rejected } = parsePayload(
      [{ t: 1 }, [{ t: 2 }], { batch: [{ t: 3 }] }, 4, null, { t: 5 }],
      arrival,
    )
    expect(readings.map(({ index }) => index)).toEqual([0, 5])
    expect(rejected.map(({ index }) => index)).toEqual([1, 2, 3, 4])
    expect(rejected[0]?.message).toContain('batch inside a batch')
    expect(rejected[1]?.message).toContain('batch inside a batch')
  })
})

describe('names', () => {
  const reserved = [
    'timestamp',
    'ts',
    'time',
    'age_ms',
    'received_at',
    'metadata',
    'device_id',
    'device_type',
    'location',
    'api_key',
    'meta_x',
  ]

  it('may have every letter, digit and sign of the rule, and 128 characters', () => {
    const body = { 'aZ09_.-:': 1, '.x': 2, '-': 3, [`n${'x'.repeat(127)}`]: 4 }
    expect(fieldsOf({ data: body })).toEqual(body)
    expect(fieldsOf(body)).toEqual(body)
  })

  it.each([
    '',
    '_a',
    'a b',
    'a"b',
    "a'b",
    'a\nb',
    'a\u0000',
    'ä',
    '温度',
    'a/b',
    'a,b',
    `n${'x'.repeat(128)}`,
  ])('may not be %j', (name) => {
    expect(pathsOf({ data: { ok: 1, [name]: 1 } })).toHaveLength(1)
    expect(pathsOf({ ok: 1, [name]: 1 })).toHaveLength(1)
  })

  it.each(reserved)('%s is refused in data and left out of a flat message', (name) => {
    const { details } = rejection({ data: { t: 1, [name]: 1 } })
    expect(details).toEqual([{ path: `data.${name}`, message: 'is a reserved name' }])
    const value = name === 'age_ms' ? 5 : receivedAt
    expect(fieldsOf({ t: 1, [name]: value })).toEqual({ t: 1 })
  })

  it('are not reserved deeper down', () => {
    expect(fieldsOf({ data: { gps: { time: 1, location: 'x' } } })).toEqual({
      'gps.time': 1,
      'gps.location': 'x',
    })
  })

  it('that objects of JavaScript have are names like others', () => {
    expect(fieldsOf(JSON.parse('{"data":{"constructor":1,"hasOwnProperty":2,"a":{"__proto__":3}}}'))).toEqual(
      JSON.parse('{"constructor":1,"hasOwnProperty":2,"a.__proto__":3}'),
    )
    expect(pathsOf(JSON.parse('{"data":{"__proto__":{"t":1}}}'))).toEqual(['data.__proto__.t'])
    expect(({} as Record<string, unknown>).t).toBeUndefined()
  })
})

describe('values', () => {
  it('are numbers, truth values and strings; null is left out', () => {
    const data = { n: 21.5, i: -3, yes: true, no: false, text: 'ü', empty: '', none: null }
    const { none, ...kept } = data
    expect(none).toBeNull()
    expect(fieldsOf({ data })).toEqual(kept)
  })

  it('have no negative zero', () => {
    expect(Object.is(fieldsOf({ t: -0 }).t, 0)).toBe(true)
  })

  it.each(['1e999', '-1e999'])('%s is not a finite number', (text) => {
    expect(rejection(JSON.parse(`{"data":{"t":${text}}}`)).message).toBe('data.t must be a finite number.')
  })

  it('are flattened with dots', () => {
    expect(fieldsOf({ data: { a: { b: { c: 1 }, d: 'x' }, e: 2 } })).toEqual({ 'a.b.c': 1, 'a.d': 'x', e: 2 })
  })

  it('may not come to one name by two ways', () => {
    expect(pathsOf({ data: { 'a.b': 1, a: { b: 2 } } })).toEqual(['data.a.b'])
  })

  it('may not be arrays, and every array is named', () => {
    expect(pathsOf({ data: { a: [1], b: { c: [] }, d: 1 } })).toEqual(['data.a', 'data.b.c'])
  })

  it('may be 4096 bytes of text', () => {
    const ok = { ascii: 'x'.repeat(4096), wide: 'é'.repeat(2048), wider: '温'.repeat(1365) }
    expect(fieldsOf({ data: ok })).toEqual(ok)
    const long = { ascii: 'x'.repeat(4097), wide: 'é'.repeat(2049), wider: '温'.repeat(1366) }
    expect(pathsOf({ data: long })).toEqual(['data.ascii', 'data.wide', 'data.wider'])
  })

  it('may not hold half a character', () => {
    expect(pathsOf(JSON.parse('{"t":"\\ud800"}'))).toEqual(['t'])
  })

  it('may be nested 16 deep', () => {
    const nest = (depth: number): unknown => (depth === 0 ? 1 : { a: nest(depth - 1) })
    expect(Object.keys(fieldsOf({ data: nest(16) }))).toEqual([Array(16).fill('a').join('.')])
    expect(rejection({ data: nest(17) }).message).toContain('nested deeper than 16')
  })

  it('may be 256 of one reading', () => {
    const data = (n: number) => Object.fromEntries(Array.from({ length: n }, (_, i) => [`f${i}`, i]))
    expect(Object.keys(fieldsOf({ data: data(256) }))).toHaveLength(256)
    expect(Object.keys(fieldsOf(data(256)))).toHaveLength(256)
    expect(rejection({ data: data(257) }).message).toContain('more than 256 fields')
    expect(rejection({ data: { a: data(200), b: data(57) } }).message).toContain('more than 256 fields')
  })

  it('that are bad are named all at once, up to fifty', () => {
    const bad = (n: number) => Object.fromEntries(Array.from({ length: n }, (_, i) => [`f${i}`, []]))
    expect(rejection({ data: bad(3) })).toMatchObject({
      message: expect.stringContaining('and 2 more problems'),
      details: [{ path: 'data.f0' }, { path: 'data.f1' }, { path: 'data.f2' }],
    })
    const many = rejection({ data: bad(80) }).details
    expect(many).toHaveLength(51)
    expect(many.at(-1)?.message).toBe('and 30 more problems')
  })
})

describe('metadata', () => {
  const metadataOf = (metadata: unknown, subtopic?: string) =>
    one({ data: { t: 1 }, metadata }, subtopic === undefined ? {} : { subtopic }).reading.metadata

  it('is scalars, read back as strings', () => {
    expect(metadataOf({ room: 'Lab', floor: 2, open: true, none: null })).toEqual({
      room: 'Lab',
      floor: '2',
      open: 'true',
    })
    expect(metadataOf(undefined)).toBeUndefined()
    expect(metadataOf(null)).toBeUndefined()
    expect(metadataOf({})).toBeUndefined()
  })

  it('holds the subtopic, which no device can take', () => {
    expect(metadataOf(undefined, 'sensors/a')).toEqual({ subtopic: 'sensors/a' })
    expect(metadataOf({ subtopic: 'mine', by: 'x' }, 'sensors')).toEqual({ subtopic: 'sensors', by: 'x' })
  })

  it('has at most 32 entries', () => {
    const entries = (n: number) => Object.fromEntries(Array.from({ length: n }, (_, i) => [`m${i}`, i]))
    expect(Object.keys(metadataOf(entries(32), 'sub') ?? {})).toHaveLength(33)
    expect(pathsOf({ data: { t: 1 }, metadata: entries(33) })).toEqual(['metadata'])
  })

  it.each([
    ['text', 'metadata'],
    [[1], 'metadata'],
    [{ a: {} }, 'metadata.a'],
    [{ a: [] }, 'metadata.a'],
    [{ 'a b': 1 }, 'metadata.a b'],
    [{ a: 'x'.repeat(4097) }, 'metadata.a'],
    [{ a: Number.POSITIVE_INFINITY }, 'metadata.a'],
  ])('may not be %j', (metadata, path) => {
    expect(pathsOf({ data: { t: 1 }, metadata })).toEqual([path])
  })

  it('does not come from a flat message', () => {
    expect(one({ t: 1, metadata: { room: 'Lab' } }).reading.metadata).toBeUndefined()
  })
})

describe('time', () => {
  const timeOf = (item: object, more: Partial<Arrival> = {}) =>
    one({ data: { t: 1 }, ...item }, more).reading.time

  it.each([
    ['timestamp', '2026-11-24T07:00:00Z', ns(receivedAt - 3_600_000)],
    ['ts', receivedAt - 1, ns(receivedAt - 1)],
    ['time', (receivedAt - 1000) / 1000, ns(receivedAt - 1000)],
    ['timestamp', `${ns(receivedAt) + 7n}`, ns(receivedAt) + 7n],
  ])('is taken from %s %s', (key, value, time) => {
    expect(timeOf({ [key]: value })).toBe(time)
    expect(one({ t: 1, [key]: value }).reading.time).toBe(time)
  })

  it('is the arrival without one, or with null', () => {
    expect(timeOf({})).toBe(arrivalTime(receivedAt, arrival.messageId, 0))
    expect(timeOf({ timestamp: null, ts: null })).toBe(arrivalTime(receivedAt, arrival.messageId, 0))
    expect(timeOf({}) / 1_000_000n).toBe(BigInt(receivedAt))
  })

  it('may be an age', () => {
    expect(timeOf({ age_ms: 5000 }) / 1_000_000n).toBe(BigInt(receivedAt - 5000))
    expect(timeOf({ age_ms: 0 })).toBe(timeOf({}))
    for (const age_ms of [-1, '5', Number.POSITIVE_INFINITY, true])
      expect(pathsOf({ data: { t: 1 }, age_ms })).toEqual(['age_ms'])
  })

  it('may be given once', () => {
    expect(pathsOf({ data: { t: 1 }, timestamp: receivedAt, ts: receivedAt })).toEqual(['ts'])
    expect(pathsOf({ t: 1, time: receivedAt, age_ms: 1 })).toEqual(['age_ms'])
  })

  it.each(['garbage', '', true, {}, [], -1, '2026-02-30'])('may not be %j', (timestamp) => {
    expect(pathsOf({ data: { t: 1 }, timestamp })).toEqual(['timestamp'])
  })

  it('may be 24 h ahead and back to the year 2000', () => {
    expect(timeOf({ ts: receivedAt + dayMs })).toBe(ns(receivedAt + dayMs))
    expect(rejection({ t: 1, ts: receivedAt + dayMs + 1 }).message).toContain('more than 24 h in the future')
    expect(timeOf({ timestamp: '2000-01-01T00:00:00Z' })).toBe(ns(Date.UTC(2000, 0, 1)))
    expect(rejection({ t: 1, timestamp: '1999-12-31T23:59:59.999Z' }).message).toContain(
      'before the year 2000',
    )
    expect(rejection({ t: 1, timestamp: '1970-01-01' }).code).toBe('VALIDATION_FAILED')
    expect(rejection({ t: 1, timestamp: '2099-01-01' }).code).toBe('VALIDATION_FAILED')
  })

  it('may not be older than telemetry is kept', () => {
    const retentionMs = 30 * dayMs
    expect(timeOf({ ts: receivedAt - retentionMs }, { retentionMs })).toBe(ns(receivedAt - retentionMs))
    expect(rejection({ t: 1, ts: receivedAt - retentionMs - 1 }, { retentionMs })).toMatchObject({
      code: 'TOO_OLD',
      message: 'ts is older than the 30 days that telemetry is kept.',
    })
    // What is wrong besides goes first: sending it again later would not help either.
    expect(rejection({ t: [], ts: receivedAt - retentionMs - 1 }, { retentionMs }).code).toBe(
      'VALIDATION_FAILED',
    )
  })

  it('of arrival differs for 250 messages that follow each other, of 1000 readings each', () => {
    const ids = Array.from({ length: 250 }, () => nextRequestId())
    const times = new Set<bigint>()
    for (const id of ids)
      for (let index = 0; index < 1000; index += 1) times.add(arrivalTime(receivedAt, id, index))
    expect(times.size).toBe(250_000)
    for (const time of times)
      if (time / 1_000_000n !== BigInt(receivedAt)) throw new Error('another millisecond')
  })

  it('of arrival is the same for every try', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), fc.nat(999), (id, index) => {
        expect(arrivalTime(receivedAt, id, index)).toBe(arrivalTime(receivedAt, id, index))
        expect(arrivalTime(receivedAt, id, index) / 1_000_000n).toBe(BigInt(receivedAt))
      }),
    )
  })
})

describe('the id of a message', () => {
  it('is taken out of every shape', () => {
    for (const body of [
      { data: { t: 1 }, message_id: 'm-1' },
      { t: 1, message_id: 'm-1' },
      { ts: receivedAt, values: { t: 1 }, message_id: 'm-1' },
    ]) {
      const { messageId, reading } = one(body)
      expect(messageId).toBe('m-1')
      expect(reading.fields).toEqual({ t: 1 })
    }
    expect(one({ t: 1, message_id: 7 }).messageId).toBe('7')
    expect(one({ t: 1, message_id: null }).messageId).toBeUndefined()
  })

  it('beside a batch is one for each of its readings that has none', () => {
    const { readings } = parsePayload(
      { batch: [{ t: 1 }, { t: 2, message_id: 'own' }, { t: 3 }], message_id: 'm' },
      arrival,
    )
    expect(readings.map(({ messageId }) => messageId)).toEqual(['batch:0:m', 'own', 'batch:2:m'])
    expect(() => parsePayload({ batch: [{ t: 1 }], message_id: {} }, arrival)).toThrow('message_id')
  })

  it.each(['', 'x'.repeat(129), true, {}, [], 2 ** 53, 1.5])('may not be %j', (message_id) => {
    expect(pathsOf({ data: { t: 1 }, message_id })).toEqual(['message_id'])
  })
})

describe('properties', () => {
  const name = fc
    .stringMatching(/^[A-Za-z0-9:-][A-Za-z0-9_:-]{0,20}$/)
    .filter(
      (text) =>
        !/^(timestamp|ts|time|age_ms|received_at|metadata|device_id|device_type|location|api_key|meta_.*|message_id|data|measurements|values|batch)$/.test(
          text,
        ),
    )
  const value = fc.oneof(
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => (n === 0 ? 0 : n)),
    fc.boolean(),
    fc.string({ unit: 'grapheme', maxLength: 40 }),
  )
  const fields = fc.dictionary(name, value, { minKeys: 1, maxKeys: 20 })
  const metadata = fc.dictionary(
    name,
    fc.oneof(fc.string({ unit: 'grapheme', maxLength: 20 }), fc.boolean(), fc.integer()),
    { maxKeys: 5 },
  )
  const time = fc.bigInt({ min: ns(Date.UTC(2000, 0, 1)), max: ns(receivedAt + dayMs) })
  const legal = fc.record({
    fields,
    metadata,
    time,
    shape: fc.constantFrom('data', 'measurements', 'values', 'flat'),
  })
  type Legal = typeof legal extends fc.Arbitrary<infer T> ? T : never

  const toItem = ({ fields, metadata, time, shape }: Legal): Record<string, unknown> =>
    shape === 'flat'
      ? { ...fields, timestamp: `${time}` }
      : { [shape]: fields, metadata, timestamp: `${time}` }
  const toReading = ({ fields, metadata, time, shape }: Legal) => ({
    time,
    fields,
    metadata:
      shape === 'flat' || Object.keys(metadata).length === 0
        ? undefined
        : Object.fromEntries(Object.entries(metadata).map(([key, value]) => [key, String(value)])),
  })

  it('every legal reading is accepted and reads back exactly, in every shape', () => {
    fc.assert(
      fc.property(fc.array(legal, { minLength: 1, maxLength: 20 }), fc.boolean(), (list, bare) => {
        const items = JSON.parse(JSON.stringify(list.map(toItem)))
        const { readings, rejected } = parsePayload(bare ? items : { batch: items }, arrival)
        expect(rejected).toEqual([])
        expect(readings.map(({ reading }) => reading)).toEqual(list.map(toReading))
      }),
    )
  })

  const faults: ((item: Record<string, unknown>) => unknown)[] = [
    (item) => ({ ...item, timestamp: 'garbage' }),
    (item) => ({ ...item, timestamp: '1999-01-01' }),
    (item) => ({ ...item, age_ms: 1 }),
    (item) => ({ ...item, message_id: '' }),
    () => ({ data: { a: [] } }),
    () => ({ data: { 'a b': 1 } }),
    () => ({ data: { _a: 1 } }),
    () => ({ data: { api_key: 'x' } }),
    () => ({ data: {} }),
    () => ({ data: { a: { b: 1 }, 'a.b': 2 } }),
    () => [],
    () => null,
    () => 'text',
  ]

  it('one bad reading of a batch is refused by its place, and no other', () => {
    fc.assert(
      fc.property(
        fc.array(legal, { minLength: 1, maxLength: 10 }),
        fc.nat(),
        fc.constantFrom(...faults),
        (list, at, spoil) => {
          const index = at % list.length
          const items = list.map(toItem)
          const spoiled = items.map((item, i) => (i === index ? spoil(item) : item))
          const { readings, rejected } = parsePayload(spoiled, arrival)
          expect(rejected.map((each) => each.index)).toEqual([index])
          expect(readings.map((each) => each.index)).toEqual(
            items.map((_, i) => i).filter((i) => i !== index),
          )
        },
      ),
    )
  })

  it('anything is answered with readings that are legal, reasons, or one error', () => {
    const anything = fc.oneof(
      fc.jsonValue({ maxDepth: 6 }),
      fc.record(
        { data: fc.jsonValue(), timestamp: fc.jsonValue(), metadata: fc.jsonValue() },
        { requiredKeys: [] },
      ),
      fc.array(fc.oneof(fc.jsonValue(), fc.record({ ts: fc.jsonValue(), values: fc.jsonValue() }))),
    )
    fc.assert(
      fc.property(anything, (body) => {
        try {
          const { readings, rejected } = parsePayload(body, arrival)
          expect(readings.length + rejected.length).toBeGreaterThan(0)
          for (const { reading } of readings) {
            const entries = Object.entries(reading.fields)
            expect(entries.length).toBeGreaterThan(0)
            expect(entries.length).toBeLessThanOrEqual(256)
            for (const [key, value] of entries) {
              expect(key).toMatch(/^[A-Za-z0-9.:-][A-Za-z0-9_.:-]{0,127}$/)
              expect(['number', 'string', 'boolean']).toContain(typeof value)
            }
          }
        } catch (error) {
          expect(error).toMatchObject({ code: 'VALIDATION_FAILED' })
        }
      }),
      { numRuns: 500 },
    )
  })

  it('the value of an api_key is nowhere in the result, wherever it was', () => {
    const secret = 'sEcReTkEy0123456789'
    const plant = (value: unknown, depth: number): unknown =>
      depth === 0 ? { t: 1, api_key: secret } : { t: 1, a: plant(value, depth - 1), api_key: secret }
    fc.assert(
      fc.property(
        fc.nat(4),
        fc.constantFrom('flat', 'data', 'values', 'metadata', 'batch'),
        (depth, where) => {
          const inner = plant(1, depth)
          const body = {
            flat: inner,
            data: { data: inner, api_key: secret },
            values: { values: inner, api_key: secret },
            metadata: { data: { t: 1 }, metadata: { api_key: secret, by: 'x' } },
            batch: [inner, { data: inner }],
          }[where]
          const { readings, rejected } = parsePayload(body, arrival)
          const text = JSON.stringify([readings, rejected], (_key, value) =>
            typeof value === 'bigint' ? String(value) : value,
          )
          expect(text).not.toContain(secret)
        },
      ),
    )
  })

  it.each([
    ['lists in lists', `${'['.repeat(500_000)}${']'.repeat(500_000)}`],
    ['objects in objects', `${'{"a":'.repeat(150_000)}1${'}'.repeat(150_000)}`],
    ['150,000 names', `{${Array.from({ length: 150_000 }, (_, i) => `"${i}":1`).join(',')}}`],
    ['150,000 empty objects', `{${Array.from({ length: 150_000 }, (_, i) => `"${i}":{}`).join(',')}}`],
    ['one long name', `{"${'x'.repeat(1_000_000)}":1}`],
  ])('a megabyte of %s is refused in a few words', (_name, text) => {
    const { readings, rejected } = parsePayload(JSON.parse(text), arrival)
    expect(readings).toEqual([])
    expect(JSON.stringify(rejected).length).toBeLessThan(20_000)
  })
})
