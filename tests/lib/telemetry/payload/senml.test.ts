import { describe, expect, it } from 'vitest'
import { arrivalTime } from '../../../../lib/telemetry/payload/arrival.ts'
import {
  arrival,
  dayMs,
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

const now = receivedAt / 1000
const senml = { senml: true }

describe('a pack of SenML', () => {
  it('with a base name gives one reading, its fields by their names', () => {
    const pack = [
      { bn: 'urn:dev:ow:10e2073a01080063:', bt: now - 60, bu: 'A', bver: 5, n: 'voltage', u: 'V', v: 120.1 },
      { n: 'current', v: 1.2 },
      { n: 'open', vb: false },
      { n: 'label', vs: 'pump' },
      { n: 'raw', vd: 'aGkgCg' },
    ]
    const { readings, rejected, warnings, batch } = parse(pack)
    expect(readings).toEqual([
      {
        index: 0,
        messageId: undefined,
        reading: {
          time: ns(receivedAt - 60_000),
          fields: { voltage: 120.1, current: 1.2, open: false, label: 'pump', raw: 'aGkgCg' },
          metadata: {
            bn: 'urn:dev:ow:10e2073a01080063:',
            'unit.voltage': 'V',
            'unit.current': 'A',
            'unit.open': 'A',
            'unit.label': 'A',
            'unit.raw': 'A',
          },
        },
      },
    ])
    expect([rejected, warnings, batch]).toEqual([[], [], true])
  })

  it('with several times gives a reading for each, in the order of the pack', () => {
    const pack = [
      { bn: 'dev/', bt: now - 10, n: 'current', t: -5, v: 1.2 },
      { n: 'current', t: -4, v: 1.3 },
      { n: 'voltage', t: -5, v: 12 },
      { n: 'current', v: 1.7 },
    ]
    const { readings } = parse(pack)
    expect(readings.map(({ index, reading }) => [index, reading.time, reading.fields])).toEqual([
      [0, ns(receivedAt - 15_000), { current: 1.2, voltage: 12 }],
      [1, ns(receivedAt - 14_000), { current: 1.3 }],
      [2, ns(receivedAt - 10_000), { current: 1.7 }],
    ])
  })

  it('has times from now below 2^28 s, and now without one', () => {
    const pack = [
      { n: 't', v: 1 },
      { n: 't', t: -2.5, v: 2 },
      { n: 't', t: -100, v: 3 },
    ]
    expect(parse(pack).readings.map(({ reading }) => reading.time)).toEqual([
      arrivalTime(receivedAt, arrival.messageId, 0),
      arrivalTime(receivedAt - 2500, arrival.messageId, 1),
      arrivalTime(receivedAt - 100_000, arrival.messageId, 2),
    ])
  })

  it('names fields by the whole resolved name where it has several base names', () => {
    const pack = [
      { bn: '2001:db8::2/', bt: now, n: 'temperature', u: 'Cel', v: 25.2 },
      { n: 'humidity', u: '%RH', v: 30 },
      { bn: '2001:db8::1/', n: 'temperature', u: 'Cel', v: 12.3 },
    ]
    expect(one(pack).reading).toEqual({
      time: ns(receivedAt),
      fields: {
        '2001:db8::2/temperature': 25.2,
        '2001:db8::2/humidity': 30,
        '2001:db8::1/temperature': 12.3,
      },
      metadata: {
        'unit.2001:db8::2/temperature': 'Cel',
        'unit.2001:db8::2/humidity': '%RH',
        'unit.2001:db8::1/temperature': 'Cel',
      },
    })
  })

  it('names a field by the base name where it has no other', () => {
    expect(fieldsOf([{ bn: 'urn:dev:ow:10e2073a01080063', u: 'Cel', v: 23.1 }])).toEqual({
      'urn:dev:ow:10e2073a01080063': 23.1,
    })
  })

  it('adds base value and base sum', () => {
    const pack = [{ n: 'a', bv: 100, bs: 5, v: 1.5, s: 2 }, { n: 'b', v: 2 }, { n: 'c', vs: 'x' }, { n: 'd' }]
    expect(fieldsOf(pack, senml)).toEqual({
      a: 101.5,
      'a.sum': 7,
      b: 102,
      'b.sum': 5,
      c: 'x',
      'c.sum': 5,
      d: 100,
      'd.sum': 5,
    })
    expect(fieldsOf([{ n: 'e', u: 'W', s: 12 }], senml)).toEqual({ 'e.sum': 12 })
    expect(metadataOf([{ n: 'e', u: 'W', s: 12 }], senml)).toEqual({ 'unit.e': 'W' })
  })

  it('keeps the update time as metadata', () => {
    expect(metadataOf([{ n: 'a', v: 1, ut: 60 }])).toEqual({ 'ut.a': '60' })
  })

  it('is recognised by its items, or by its content type', () => {
    const list = [
      { n: 'a', v: 1 },
      { n: 'b', w: 2 },
    ]
    expect(parse(list).readings.map(({ reading }) => reading.fields)).toEqual([
      { n: 'a', v: 1 },
      { n: 'b', w: 2 },
    ])
    expect(
      fieldsOf(
        [
          { bn: 'x/', bt: now },
          { n: 'a', v: 1 },
        ],
        senml,
      ),
    ).toEqual({ a: 1 })
    expect(fieldsOf({ n: 'a', v: 1 })).toEqual({ n: 'a', v: 1 })
    expect(fieldsOf({ n: 'a', v: 1 }, senml)).toEqual({ a: 1 })
  })

  it('keeps what can be kept, and says what it leaves out', () => {
    const pack = JSON.parse(
      '[{"n":"a","v":1},{"n":"a","v":2},{"n":"b","v":1e999},{"n":"c","v":[1]},{"n":"","bn":"","v":3},{"n":"d\\"","v":4},{"n":"e","v":5,"x":1,"u":["C"]},{"n":"f","v":6,"must_":1},{"n":"time","v":7},{"n":"api_key","vs":"secret"}]',
    )
    expect(fieldsOf(pack)).toEqual({ a: 1, d_: 4, e: 5 })
    expect(metadataOf(pack)).toEqual({ time: '7' })
    expect(warningsOf(pack)).toEqual([
      'NAME_CLASH a',
      'VALUE_INVALID b',
      'VALUE_INVALID c',
      'NAME_INVALID',
      'NAME_CHANGED d"',
      'LABEL_UNKNOWN e.x',
      'METADATA_INVALID e.u',
      'LABEL_UNKNOWN f.must_',
    ])
  })

  it('does not believe a clock that cannot be right', () => {
    const pack = [
      { n: 't', bt: 300_000_000, v: 1 },
      { n: 'u', v: 2 },
    ]
    expect(one(pack).reading).toEqual({
      time: arrivalTime(receivedAt, arrival.messageId, 0),
      fields: { t: 1, u: 2 },
      metadata: { device_time: '300000000' },
    })
    expect(warningsOf(pack)).toEqual(['CLOCK_WRONG t'])
    expect(warningsOf([{ n: 't', t: 3600, v: 1 }])).toEqual(['CLOCK_WRONG t'])
    expect(warningsOf([{ n: 't', bt: 1e300, v: 1 }])).toEqual(['CLOCK_WRONG t'])
    expect(warningsOf([{ n: 't', bt: -1e300, v: 1 }])).toEqual(['CLOCK_WRONG t'])
    expect(warningsOf([{ n: 't', t: 'noon', v: 1 }])).toEqual(['TIME_INVALID t.t'])
  })

  it('refuses a reading of several that is older than telemetry is kept', () => {
    const old = { n: 't', t: -40 * 86_400, v: 1 }
    const retentionMs = 30 * dayMs
    const { readings, rejected } = parse([old, { n: 't', v: 2 }], { retentionMs })
    expect(readings.map(({ index }) => index)).toEqual([1])
    expect(rejected).toMatchObject([{ index: 0, code: 'TOO_OLD' }])
    expect(warningsOf([old], { retentionMs })).toEqual(['CLOCK_WRONG t'])
  })

  it('has 1000 times, and as many records as fit', () => {
    const pack = (times: number) =>
      Array.from({ length: 2 * times }, (_, i) => ({ n: `${i % 2}`, t: -(i >> 1), v: i }))
    expect(parse(pack(1000)).readings).toHaveLength(1000)
    expect(refusal(pack(1001))).toMatchObject({ code: 'BATCH_TOO_LONG' })
  })

  it('with a name that is no text leaves the name out, also one that JavaScript cannot turn into text', () => {
    const pack = [
      { bn: 'dev/', n: 'temperature', v: 21 },
      { n: { toString: 1, valueOf: 1 }, v: 2 },
      { n: [[]], v: 3 },
      { n: 7, v: 4 },
    ]
    expect(fieldsOf(pack, senml)).toEqual({ temperature: 21, 'dev/': 2, 7: 4 })
    expect(warningsOf(pack, senml)).toEqual(['NAME_INVALID dev/.n', 'NAME_INVALID dev/.n', 'NAME_CLASH dev/'])
    expect(
      warningsOf(
        [
          { n: {}, v: 1 },
          { n: 't', v: 2 },
        ],
        senml,
      ),
    ).toEqual(['NAME_INVALID .n', 'NAME_INVALID'])
  })

  it('that has no record is refused', () => {
    expect(refusal([], senml)).toMatchObject({ code: 'VALIDATION_FAILED' })
    expect(refusal(['x'], senml)).toMatchObject({ code: 'VALIDATION_FAILED' })
    expect(rejection([{ bn: 'x/' }], senml).message).toContain('has no value to store')
  })
})
