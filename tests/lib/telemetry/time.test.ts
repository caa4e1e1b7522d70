import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { formatMillis } from '../../../lib/iso-time.ts'
import { formatTime, parseTime } from '../../../lib/telemetry/time.ts'

const ns = (iso: string, below = 0n) => BigInt(Date.parse(iso)) * 1_000_000n + below
const lastNs = 2n ** 63n - 1n

describe('formatTime', () => {
  it.each([
    [0n, '1970-01-01T00:00:00Z'],
    [ns('2026-11-24T08:00:00Z'), '2026-11-24T08:00:00Z'],
    [ns('2026-11-24T08:00:00.120Z'), '2026-11-24T08:00:00.120Z'],
    [ns('2026-11-24T08:00:00Z', 1000n), '2026-11-24T08:00:00.000001Z'],
    [ns('2026-11-24T08:00:00Z', 1n), '2026-11-24T08:00:00.000000001Z'],
    [-1n, '1969-12-31T23:59:59.999999999Z'],
  ])('shows %d as %s', (time, text) => {
    expect(formatTime(time)).toBe(text)
  })

  it('uses the fewest of 0, 3, 6 and 9 digits that are exact, and reads back', () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: 0n, max: lastNs }),
        fc.constantFrom(1n, 1000n, 1_000_000n, 1_000_000_000n),
        (any, unit) => {
          const time = any - (any % unit)
          const text = formatTime(time)
          expect(parseTime(text)).toBe(time)
          const digits = /\.(\d+)Z$/.exec(text)?.[1] ?? ''
          expect([0, 3, 6, 9]).toContain(digits.length)
          expect(digits.endsWith('000')).toBe(false)
        },
      ),
    )
  })

  it('shows milliseconds as Date does', () => {
    fc.assert(
      fc.property(fc.date({ min: new Date(0), max: new Date('9999-12-31'), noInvalidDate: true }), (date) => {
        expect(formatMillis(date.getTime())).toBe(date.toISOString().replace('.000Z', 'Z'))
      }),
    )
  })
})

describe('parseTime', () => {
  it.each([
    ['2026-11-24T08:00:00Z', ns('2026-11-24T08:00:00Z')],
    ['2026-11-24T08:00:00', ns('2026-11-24T08:00:00Z')],
    ['2026-11-24 08:00:00', ns('2026-11-24T08:00:00Z')],
    ['2026-11-24t08:00z', ns('2026-11-24T08:00:00Z')],
    ['2026-11-24', ns('2026-11-24T00:00:00Z')],
    ['2026-11-24T08:00:00+02:00', ns('2026-11-24T06:00:00Z')],
    ['2026-11-24T08:00:00-0330', ns('2026-11-24T11:30:00Z')],
    ['2026-11-24T08:00:00+02', ns('2026-11-24T06:00:00Z')],
    ['2026-11-24T08:00:00.5Z', ns('2026-11-24T08:00:00.500Z')],
    ['2026-11-24T08:00:00,123456789Z', ns('2026-11-24T08:00:00.123Z', 456_789n)],
    ['2024-02-29', ns('2024-02-29')],
    [1_795_507_200, ns('2026-11-24T08:00:00Z')],
    [1_795_507_200.25, ns('2026-11-24T08:00:00.250Z')],
    [1_795_507_200_123, ns('2026-11-24T08:00:00.123Z')],
    [1_795_507_200_123_456, ns('2026-11-24T08:00:00.123Z', 456_000n)],
    ['1795507200', ns('2026-11-24T08:00:00Z')],
    ['1795507200.000000001', ns('2026-11-24T08:00:00Z', 1n)],
    ['1795507200123', ns('2026-11-24T08:00:00.123Z')],
    ['1795507200123456', ns('2026-11-24T08:00:00.123Z', 456_000n)],
    ['1795507200123456789', ns('2026-11-24T08:00:00.123Z', 456_789n)],
    [0, 0n],
  ])('reads %s', (value, time) => {
    expect(parseTime(value)).toBe(time)
  })

  it.each([
    '2025-02-29',
    '2026-02-30T00:00:00Z',
    '2026-06-31',
    '2026-13-01',
    '2026-00-10',
    '2026-01-00',
    '0050-01-01',
    '2026-11-24T24:00:00Z',
    '2026-11-24T08:60:00Z',
    '2026-11-24T08:00:60Z',
    '2026-11-24T08',
    '2026-11-24T08:00:00.Z',
    '2026-11-24T08:00:00.1234567890Z',
    '2026-11-24T08:00:00+24:00',
    '2026-11-24T08:00:00+02:60',
    ' 2026-11-24',
    '2026-11-24T08:00:00Z\n',
    '24.11.2026',
    'now',
    '',
    '-1',
    '1e9',
    '0x10',
    '12345678901234567890',
    '1795507200123.5',
    -1,
    1e17,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    null,
    undefined,
    true,
    {},
    [],
  ])('refuses %s', (value) => {
    expect(parseTime(value)).toBeUndefined()
  })

  it('agrees with Date about every offset', () => {
    const offset = fc.tuple(fc.constantFrom('+', '-'), fc.nat(23), fc.nat(59))
    const two = (n: number) => String(n).padStart(2, '0')
    fc.assert(
      fc.property(
        fc.date({ min: new Date('1971-01-01'), max: new Date('2200-01-01'), noInvalidDate: true }),
        offset,
        (date, [sign, hours, minutes]) => {
          const text = `${date.toISOString().slice(0, -1)}${sign}${two(hours)}:${two(minutes)}`
          expect(parseTime(text)).toBe(BigInt(Date.parse(text)) * 1_000_000n)
        },
      ),
    )
  })

  it('answers anything with an instant or nothing', () => {
    fc.assert(
      fc.property(fc.oneof(fc.jsonValue(), fc.string(), fc.double()), (value) => {
        expect(['bigint', 'undefined']).toContain(typeof parseTime(value))
      }),
    )
  })
})
