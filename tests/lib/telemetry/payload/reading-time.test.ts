import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { nextRequestId } from '../../../../lib/request-id.ts'
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
  rejection,
  warningsOf,
} from './parsing.ts'

const atArrival = arrivalTime(receivedAt, arrival.messageId, 0)
const timeOf = (body: unknown, more = {}) => one(body, more).reading.time

describe('the time of a reading', () => {
  it.each([
    ['timestamp', '2026-11-24T07:00:00Z', ns(receivedAt - 3_600_000)],
    ['timestamp', '2026-11-24T09:00:00+02:00', ns(receivedAt - 3_600_000)],
    ['ts', receivedAt - 1, ns(receivedAt - 1)],
    ['time', (receivedAt - 1000) / 1000, ns(receivedAt - 1000)],
    ['Time', '2026-11-24T07:59:59', ns(receivedAt - 1000)],
    ['TIMESTAMP', (receivedAt - 1) * 1000, ns(receivedAt - 1)],
    ['tst', Math.floor(receivedAt / 1000), ns(receivedAt)],
    ['timestamp', `${ns(receivedAt) + 7n}`, ns(receivedAt) + 7n],
    ['ts', `${receivedAt - 5}`, ns(receivedAt - 5)],
    ['age_ms', 5000, atArrival - ns(5000)],
    ['age_ms', '5000', atArrival - ns(5000)],
    ['age_ms', 0, atArrival],
  ])('is taken from %s %j, in every shape', (name, value, time) => {
    for (const body of [
      { t: 1, [name]: value },
      { data: { t: 1 }, [name]: value },
      { data: { t: 1, [name]: value } },
      { [name]: value, values: { t: 1 } },
    ]) {
      expect(timeOf(body)).toBe(time)
      expect(fieldsOf(body)).toEqual({ t: 1 })
      expect(metadataOf(body)).toBeUndefined()
      expect(warningsOf(body)).toEqual([])
    }
  })

  it('is the arrival without one, or with null', () => {
    for (const body of [{ t: 1 }, { t: 1, timestamp: null, ts: null, age_ms: null }])
      expect(timeOf(body)).toBe(atArrival)
    expect(atArrival / 1_000_000n).toBe(BigInt(receivedAt))
  })

  it('is the first of several; the others are metadata', () => {
    const times = { tst: receivedAt - 4, time: receivedAt - 3, ts: receivedAt - 2, timestamp: receivedAt - 1 }
    const body = { t: 1, ...times, age_ms: 9 }
    expect(timeOf(body)).toBe(ns(receivedAt - 1))
    expect(metadataOf(body)).toEqual({
      ts: `${receivedAt - 2}`,
      time: `${receivedAt - 3}`,
      tst: `${receivedAt - 4}`,
      age_ms: '9',
    })
    expect(warningsOf(body)).toEqual([])
  })

  it('is that of the envelope where it has one', () => {
    const body = { timestamp: receivedAt - 9000, data: { t: 1, ts: receivedAt - 1000 } }
    expect(timeOf(body)).toBe(ns(receivedAt - 1000))
    expect(metadataOf(body)).toEqual({ timestamp: `${receivedAt - 9000}` })
    const unreadable = { timestamp: receivedAt - 9000, data: { t: 1, time: 'noon' } }
    expect(timeOf(unreadable)).toBe(ns(receivedAt - 9000))
    expect(metadataOf(unreadable)).toEqual({ time: 'noon' })
  })

  it.each(['garbage', '', '12:30', true, -1, '2026-02-30', 1e300])('is no %j, which is kept', (timestamp) => {
    const body = { t: 1, timestamp }
    expect(timeOf(body)).toBe(atArrival)
    expect(metadataOf(body)).toEqual({ timestamp: String(timestamp) })
    expect(warningsOf(body)).toEqual(['TIME_INVALID timestamp'])
  })

  it.each([-1, '5 s', true])('is no age of %j, which is kept', (age_ms) => {
    expect(metadataOf({ t: 1, age_ms })).toEqual({ age_ms: String(age_ms) })
    expect(warningsOf({ data: { t: 1, age_ms } })).toEqual(['TIME_INVALID data.age_ms'])
  })

  it('is not an object, whose values are fields', () => {
    expect(fieldsOf({ time: { boot: 5 }, ts: [1, 2] })).toEqual({ 'time.boot': 5, 'ts.0': 1, 'ts.1': 2 })
  })

  it('without an offset is local time of the device', () => {
    const timezone = 'Europe/Berlin'
    expect(timeOf({ Time: '2026-11-24T08:59:00', t: 1 }, { timezone })).toBe(ns(receivedAt - 60_000))
    expect(timeOf({ Time: '2026-11-24T07:59:00Z', t: 1 }, { timezone })).toBe(ns(receivedAt - 60_000))
    expect(timeOf({ Time: '2026-11-24T07:59:00', t: 1 }, { timezone: null })).toBe(ns(receivedAt - 60_000))
    expect(timeOf({ Time: '2026-11-24T07:59:00', t: 1 }, { timezone: 'No/Where' })).toBe(
      ns(receivedAt - 60_000),
    )
  })

  it('that a change of the clock repeats is the instant nearest to the arrival', () => {
    const more = { timezone: 'Europe/Berlin' }
    const twice = { t: 1, time: '2026-10-25T02:30:00' }
    for (const instant of [Date.UTC(2026, 9, 25, 0, 30), Date.UTC(2026, 9, 25, 1, 30)])
      expect(timeOf(twice, { ...more, receivedAt: instant + 1000 })).toBe(ns(instant))
  })
})

describe('a clock that cannot be right', () => {
  it.each([
    ['ts', 36],
    ['ts', '36'],
    ['timestamp', '1999-12-31T23:59:59.999Z'],
    ['timestamp', '1970-01-01'],
    ['timestamp', '2099-01-01T00:00:00Z'],
    ['timestamp', receivedAt + 300_001],
    ['timestamp', receivedAt + 23 * 3_600_000],
    ['age_ms', 1e15],
    ['timestamp', '9999-12-31T23:59:59Z'],
  ])('is not believed: %s %j', (name, value) => {
    for (const body of [
      { t: 1, [name]: value },
      { ts: 1, data: { t: 1, [name]: value } },
    ]) {
      const { reading } = one(body)
      expect(reading.time).toBe(atArrival)
      expect(reading.fields).toEqual({ t: 1 })
      expect(reading.metadata).toMatchObject({ device_time: String(value) })
    }
    expect(warningsOf({ t: 1, [name]: value })).toEqual([`CLOCK_WRONG ${name}`])
  })

  it('is not one that is a little ahead', () => {
    expect(timeOf({ t: 1, ts: receivedAt + 300_000 })).toBe(ns(receivedAt + 300_000))
    expect(timeOf({ t: 1, ts: receivedAt + 2000 }, { maxClockAheadMs: 1000 })).toBe(atArrival)
    expect(timeOf({ t: 1, timestamp: '2000-01-01T00:00:00Z' })).toBe(ns(Date.UTC(2000, 0, 1)))
  })

  it('does not collapse the readings of a batch', () => {
    const { readings, warnings } = parse([1, 2, 3].map((t) => ({ ts: t, values: { t } })))
    expect(new Set(readings.map(({ reading }) => reading.time)).size).toBe(3)
    expect(readings.map(({ reading }) => reading.metadata)).toEqual([
      { device_time: '1' },
      { device_time: '2' },
      { device_time: '3' },
    ])
    expect(warnings.map(({ index, code }) => [index, code])).toEqual([
      [0, 'CLOCK_WRONG'],
      [1, 'CLOCK_WRONG'],
      [2, 'CLOCK_WRONG'],
    ])
  })

  it('is said outside of the 32 entries of the device, and before its own entry of this name', () => {
    const metadata = Object.fromEntries(Array.from({ length: 32 }, (_, i) => [`m${i}`, i]))
    const full = { data: { t: 1 }, metadata, ts: 1 }
    expect(Object.keys(metadataOf(full, { subtopic: 'lab' }) ?? {})).toHaveLength(34)
    expect(warningsOf(full, { subtopic: 'lab' })).toEqual(['CLOCK_WRONG ts'])
    const own = { t: 1, metadata: { device_time: 'mine' }, ts: 1 }
    expect(metadataOf(own)).toEqual({ device_time: '1' })
    expect(warningsOf(own)).toEqual(['NAME_CLASH metadata.device_time', 'CLOCK_WRONG ts'])
  })
})

describe('a time older than telemetry is kept', () => {
  const retentionMs = 30 * dayMs
  const ts = receivedAt - retentionMs - 1

  it('becomes the time of arrival in a single reading', () => {
    expect(timeOf({ t: 1, ts: ts + 1 }, { retentionMs })).toBe(ns(ts + 1))
    const { reading } = one({ t: 1, ts }, { retentionMs })
    expect(reading).toEqual({ time: atArrival, fields: { t: 1 }, metadata: { device_time: String(ts) } })
    expect(warningsOf({ t: 1, ts }, { retentionMs })).toEqual(['CLOCK_WRONG ts'])
  })

  it('refuses an item of a batch, and no other', () => {
    for (const bare of [true, false]) {
      const items = [{ t: 1 }, { t: 2, ts }]
      const { readings, rejected, warnings } = parse(bare ? items : { batch: items }, { retentionMs })
      expect(readings.map(({ index }) => index)).toEqual([0])
      expect(rejected).toEqual([
        {
          index: 1,
          code: 'TOO_OLD',
          message: 'The reading is too old: ts is older than the 30 days that telemetry is kept.',
          details: [{ path: 'ts', message: 'is older than the 30 days that telemetry is kept' }],
        },
      ])
      expect(warnings).toEqual([])
    }
  })

  it('does not matter where nothing is left to store', () => {
    expect(rejection([{ t: {}, ts }], { retentionMs }).code).toBe('VALIDATION_FAILED')
  })
})

describe('the time of arrival', () => {
  it('differs for 250 messages that follow each other, of 1000 readings each', () => {
    const ids = Array.from({ length: 250 }, () => nextRequestId())
    const times = new Set<bigint>()
    for (const id of ids)
      for (let index = 0; index < 1000; index += 1) times.add(arrivalTime(receivedAt, id, index))
    expect(times.size).toBe(250_000)
    for (const time of times)
      if (time / 1_000_000n !== BigInt(receivedAt)) throw new Error('another millisecond')
  })

  it('is the same for every try', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), fc.nat(999), (id, index) => {
        expect(arrivalTime(receivedAt, id, index)).toBe(arrivalTime(receivedAt, id, index))
        expect(arrivalTime(receivedAt, id, index) / 1_000_000n).toBe(BigInt(receivedAt))
      }),
    )
  })
})
