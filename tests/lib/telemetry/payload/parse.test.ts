import { describe, expect, it } from 'vitest'
import { payloadOf } from '../../../../lib/telemetry/payload/parse.ts'
import {
  arrival,
  fieldsOf,
  metadataOf,
  ns,
  one,
  parse,
  receivedAt,
  refusal,
  rejection,
  warningsOf,
} from './parsing.ts'

describe('the shape of a reading', () => {
  it.each([
    ['data', { data: { t: 1 } }],
    ['measurements', { measurements: { t: 1 } }],
    ['flat', { t: 1 }],
    ['ts and values', { ts: receivedAt, values: { t: 1 } }],
    ['values alone', { values: { t: 1 } }],
    [
      'values beside what is about the reading',
      { values: { t: 1 }, device_id: 7, meta_x: 1, Time: receivedAt, y: null },
    ],
  ])('may be %s', (_name, body) => {
    expect(fieldsOf(body)).toEqual({ t: 1 })
    expect(parse(body).batch).toBe(false)
    for (const list of [[body], { batch: [body] }]) {
      const { readings, batch } = parse(list)
      expect(batch).toBe(true)
      expect(readings).toMatchObject([{ index: 0, reading: { fields: { t: 1 } } }])
    }
  })

  it.each([
    [
      { values: { t: 1 }, u: 2 },
      { 'values.t': 1, u: 2 },
    ],
    [
      { data: { t: 1 }, values: { t: 2 } },
      { t: 1, 'values.t': 2 },
    ],
    [
      { data: { t: 1 }, measurements: { t: 2 } },
      { t: 1, 'measurements.t': 2 },
    ],
    [
      { measurements: { power: 1 }, status: { battery_level: 88 } },
      { power: 1, 'status.battery_level': 88 },
    ],
    [
      { t: 21, data: { hum: 40 } },
      { t: 21, hum: 40 },
    ],
    [
      { data: {}, t: 21, on: true, list: [1, 'a'] },
      { t: 21, on: true, 'list.0': 1, 'list.1': 'a' },
    ],
  ])('may have values beside its envelope: %j', (body, fields) => {
    expect(fieldsOf(body)).toEqual(fields)
    expect(warningsOf(body)).toEqual([])
  })

  it.each([
    [
      { data: 'AQID', fPort: 3, object: { temperature: 22.5 } },
      { data: 'AQID', fPort: 3, 'object.temperature': 22.5 },
    ],
    [{ data: '000012300007' }, { data: '000012300007' }],
    [
      { measurements: '1', t: 20 },
      { measurements: '1', t: 20 },
    ],
    [{ data: null, t: 21 }, { t: 21 }],
    [{ data: [1, 2] }, { 'data.0': 1, 'data.1': 2 }],
    [{ data: 7 }, { data: 7 }],
    [
      { batch: 4, t: 21 },
      { batch: 4, t: 21 },
    ],
    [{ batch: [4, 5] }, { 'batch.0': 4, 'batch.1': 5 }],
    [{ batch: [], t: 21 }, { t: 21 }],
  ])('has no envelope in what is no object: %j', (body, fields) => {
    expect(fieldsOf(body)).toEqual(fields)
    expect(warningsOf(body)).toEqual([])
  })

  it('keeps the value of the envelope before one beside it', () => {
    const body = { t: 1, data: { t: 2 } }
    expect(fieldsOf(body)).toEqual({ t: 2 })
    expect(warningsOf(body)).toEqual(['NAME_CLASH t'])
  })

  it('keeps strings beside the envelope as metadata, and nested ones as fields', () => {
    const body = { data: { t: 1 }, gateway: 'north', radio: { sf: 'SF7' } }
    expect(fieldsOf(body)).toEqual({ t: 1, 'radio.sf': 'SF7' })
    expect(metadataOf(body)).toEqual({ gateway: 'north' })
  })

  it.each([
    [{}],
    [{ data: {} }],
    [{ t: null }],
    [{ data: { a: {} }, b: [] }],
    [{ timestamp: 1_795_507_200 }],
  ])('must hold a value: %j', (body) => {
    expect(rejection(body).message).toBe('The reading has no value to store.')
    expect(rejection(body).details).toEqual([{ path: '', message: 'has no value to store' }])
  })

  it('that holds none is refused with every reason', () => {
    const body = JSON.parse('{"a":1e999,"":5,"ts":36,"device_id":7}')
    expect(rejection(body)).toEqual({
      index: 0,
      code: 'VALIDATION_FAILED',
      message: 'The reading has no value to store: a must be a finite number, and 2 more problems.',
      details: [
        { path: 'a', message: 'must be a finite number' },
        { path: '', message: 'is left out: a name has 1 to 128 characters' },
        { path: 'ts', message: 'is before the year 2000: the time of arrival is stored' },
      ],
    })
  })

  it.each([[null], [1], ['text'], [true]])('is not %j', (body) => {
    expect(refusal(body)).toMatchObject({ code: 'VALIDATION_FAILED', details: [{ path: '' }] })
  })
})

describe('a batch', () => {
  const items = (n: number) => Array.from({ length: n }, (_, t) => ({ t }))

  it('has 1000 readings, not 0, and as a whole not 1001', () => {
    expect(parse(items(1000)).readings).toHaveLength(1000)
    expect(refusal(items(1001))).toMatchObject({
      code: 'BATCH_TOO_LONG',
      details: [{ path: '', message: 'has 1001 readings: at most 1000 are taken at once' }],
    })
    expect(refusal({ batch: items(1001), t: 1 })).toMatchObject({
      code: 'BATCH_TOO_LONG',
      details: [{ path: 'batch' }],
    })
    expect(refusal([]).message).toContain('empty')
    expect(refusal({ batch: [] }).details).toEqual([{ path: 'batch', message: 'is an empty list' }])
  })

  it('refuses a batch in a batch, and what is no object, by their places', () => {
    const { readings, rejected } = parse([{ t: 1 }, [{ t: 2 }], { batch: [{ t: 3 }] }, 4, null, { t: 5 }])
    expect(readings.map(({ index }) => index)).toEqual([0, 5])
    expect(rejected.map(({ index }) => index)).toEqual([1, 2, 3, 4])
    expect(rejected.map(({ message }) => message)).toEqual([
      'The reading is a batch inside a batch.',
      'The reading is a batch inside a batch.',
      'The reading must be an object.',
      'The reading must be an object.',
    ])
  })

  it('says of every warning to which reading it belongs', () => {
    const { warnings } = parse([{ t: 1 }, { t: 1, 'a"b': 2 }, { t: 1, c: 'x'.repeat(5000) }])
    expect(warnings.map(({ index, code, path }) => [index, code, path])).toEqual([
      [1, 'NAME_CHANGED', 'a"b'],
      [2, 'VALUE_INVALID', 'c'],
    ])
  })

  it('gives its metadata to each of its readings; their own goes first', () => {
    const body = {
      device_id: 'gw-1',
      site: 'north',
      metadata: { by: 'gateway' },
      timestamp: receivedAt - 5000,
      batch: [{ t: 1 }, { data: { t: 2 }, site: 'south' }],
    }
    const { readings, rejected, warnings } = parse(body, { subtopic: 'lab' })
    const shared = { device_id: 'gw-1', by: 'gateway', timestamp: String(receivedAt - 5000), subtopic: 'lab' }
    expect(readings.map(({ reading }) => reading.metadata)).toEqual([
      { ...shared, site: 'north' },
      { ...shared, site: 'south' },
    ])
    expect([rejected, warnings]).toEqual([[], []])
    // The time beside them is not theirs: at one time they would be one reading.
    expect(new Set(readings.map(({ reading }) => reading.time)).size).toBe(2)
  })

  it('has a reading of its own for the values beside it, after the last one', () => {
    const body = {
      batch: [{ t: 1 }, 5],
      battery: 3.7,
      radio: { rssi: -70 },
      site: 'north',
      ts: receivedAt - 1000,
    }
    const { readings, rejected } = parse(body)
    expect(rejected.map(({ index }) => index)).toEqual([1])
    expect(readings).toMatchObject([
      { index: 0, reading: { fields: { t: 1 }, metadata: { site: 'north' } } },
      {
        index: 2,
        reading: {
          time: ns(receivedAt - 1000),
          fields: { battery: 3.7, 'radio.rssi': -70 },
          metadata: { site: 'north' },
        },
      },
    ])
    expect(parse({ batch: [{ t: 1 }], data: { u: 2 } }).readings).toMatchObject([
      { index: 0, reading: { fields: { t: 1 } } },
      { index: 1, reading: { fields: { u: 2 } } },
    ])
  })

  it('keeps what stands beside it although none of its items is good', () => {
    const { readings, rejected } = parse({ batch: [{}, 'x'], battery: 3.7 })
    expect(readings).toMatchObject([{ index: 2, reading: { fields: { battery: 3.7 } } }])
    expect(rejected).toHaveLength(2)
  })
})

describe('the id of a message', () => {
  it('is taken out of every shape, and is metadata', () => {
    for (const body of [
      { data: { t: 1 }, message_id: 'm-1' },
      { data: { t: 1, message_id: 'm-1' } },
      { t: 1, message_id: 'm-1' },
      { ts: receivedAt, values: { t: 1 }, message_id: 'm-1' },
    ]) {
      const { messageId, reading } = one(body)
      expect(messageId).toBe('m-1')
      expect(reading).toMatchObject({ fields: { t: 1 }, metadata: { message_id: 'm-1' } })
      expect(warningsOf(body)).toEqual([])
    }
    expect(one({ t: 1, message_id: 7 }).messageId).toBe('7')
    expect(one({ t: 1, message_id: null }).messageId).toBeUndefined()
  })

  it('beside a batch is one for each of its readings that has none', () => {
    const { readings } = parse({
      batch: [{ t: 1 }, { t: 2, message_id: 'own' }, { t: 3 }],
      message_id: 'm',
      battery: 4,
    })
    expect(readings.map(({ messageId }) => messageId)).toEqual(['batch:0:m', 'own', 'batch:2:m', 'batch:3:m'])
  })

  it.each(['', 'x'.repeat(129), '\ud800', true, 2 ** 53, 1.5])('is not %j, which is kept', (message_id) => {
    const body = { data: { t: 1 }, message_id }
    expect(one(body).messageId).toBeUndefined()
    expect(metadataOf(body)).toEqual({ message_id: String(message_id).toWellFormed() })
    expect(warningsOf(body)).toContain('MESSAGE_ID_INVALID message_id')
  })

  it('is not an object, whose values are fields', () => {
    expect(one({ message_id: { a: 1 } })).toMatchObject({
      messageId: undefined,
      reading: { fields: { 'message_id.a': 1 } },
    })
  })
})

it('bytes that were no UTF-8 are said of the first reading that is kept', () => {
  const { warnings } = parse([5, { t: 1 }, { u: 1 }], { invalidUtf8: true })
  expect(warnings).toEqual([
    {
      index: 1,
      path: '',
      code: 'INVALID_UTF8',
      message: 'has bytes that are not UTF-8: they are taken as U+FFFD',
    },
  ])
  expect(parse([5], { invalidUtf8: true }).warnings).toEqual([])
})

it('readings that are written as a message are the same readings again', () => {
  const metadata = Object.fromEntries(Array.from({ length: 32 }, (_, i) => [`m${i}`, i]))
  const { readings } = parse(
    [
      { data: { a: 1, 'b c/°': 'x', d: [true, { e: 2 }] }, metadata, ts: 5, location: 'Lab' },
      { t: 1, timestamp: receivedAt - 5 },
      { data: { location: { lat: 1 } }, message_id: 'm' },
    ],
    { subtopic: 'lab' },
  )
  const written = readings.map(({ reading }) => reading)
  const again = parse(JSON.parse(payloadOf(written)), { ...arrival, messageId: 'other' })
  expect(again.readings.map(({ reading }) => reading)).toEqual(written)
  expect([again.rejected, again.warnings]).toEqual([[], []])
})
