import { describe, expect, it } from 'vitest'
import { parseDuration, parseInstant, parseWindow } from '../../../lib/telemetry/duration.ts'
import { formatTime } from '../../../lib/telemetry/time.ts'

const ns = (iso: string) => BigInt(Date.parse(iso)) * 1_000_000n
const lastNs = 2n ** 63n - 1n

describe('parseDuration', () => {
  it.each([
    ['1s', [0, 0, 1]],
    ['5m', [0, 0, 300]],
    ['2h', [0, 0, 7200]],
    ['1h30m', [0, 0, 5400]],
    ['90m', [0, 0, 5400]],
    ['1d', [0, 1, 0]],
    ['1w', [0, 7, 0]],
    ['1mo', [1, 0, 0]],
    ['1m', [0, 0, 60]],
    ['1y2mo3w4d5h6m7s', [14, 25, 18_367]],
    ['30m1h', [0, 0, 5400]],
    ['36500d', [0, 36_500, 0]],
  ])('reads %s', (text, [months, days, seconds]) => {
    expect(parseDuration(text)).toEqual({ months, days, seconds })
  })

  it.each([
    '0',
    '0s',
    '01s',
    '-1h',
    '1',
    'h',
    '1.5h',
    '1 h',
    '1H',
    '1M',
    '1h-5m',
    '1h0m',
    '101y',
    '36501d',
    '99999999999s',
    '',
    '1s1s1s1s1s1s1s1s',
  ])('refuses %s', (text) => {
    expect(parseDuration(text)).toBeUndefined()
  })
})

describe('parseWindow', () => {
  it.each([
    ['90m', { unit: 'second', count: 5400 }],
    ['1h30m', { unit: 'second', count: 5400 }],
    ['24h', { unit: 'second', count: 86_400 }],
    ['3d', { unit: 'day', count: 3 }],
    ['1w', { unit: 'week', count: 1 }],
    ['1mo', { unit: 'month', count: 1 }],
    ['1y', { unit: 'year', count: 1 }],
  ])('reads %s', (text, window) => {
    expect(parseWindow(text)).toEqual(window)
  })

  it.each(['1d12h', '1w1d', '1mo1d', '1h1d', '1y6mo', '1d1d', 'day', ''])('refuses %s', (text) => {
    expect(parseWindow(text)).toBeUndefined()
  })
})

describe('parseInstant', () => {
  const now = ns('2026-11-24T08:00:00Z')

  it('reads a time back from now, and whatever names a time', () => {
    expect(parseInstant('-1h', now)).toBe(now - 3_600_000_000_000n)
    expect(parseInstant('-1h30m', now)).toBe(now - 5_400_000_000_000n)
    expect(parseInstant('2026-11-24T08:00:00Z', 0n)).toBe(now)
    expect(parseInstant('1795507200', 0n)).toBe(now)
  })

  it.each([
    ['2026-03-31T12:00:00Z', '-1mo', 'UTC', '2026-02-28T12:00:00Z'],
    ['2024-03-31T12:00:00.123Z', '-1mo', 'UTC', '2024-02-29T12:00:00.123Z'],
    ['2024-02-29T12:00:00Z', '-1y', 'UTC', '2023-02-28T12:00:00Z'],
    ['2026-01-31T12:00:00Z', '-3mo', 'UTC', '2025-10-31T12:00:00Z'],
    ['2026-05-01T00:00:00Z', '-1d', 'UTC', '2026-04-30T00:00:00Z'],
    // The clock of Berlin shows the same time of the day, 23 and 25 hours before.
    ['2026-03-29T10:00:00Z', '-1d', 'Europe/Berlin', '2026-03-28T11:00:00Z'],
    ['2026-03-29T10:00:00Z', '-24h', 'Europe/Berlin', '2026-03-28T10:00:00Z'],
    ['2026-10-25T11:00:00Z', '-1w', 'Europe/Berlin', '2026-10-18T10:00:00Z'],
    // In Berlin it is 31 March already.
    ['2026-03-30T22:30:00Z', '-1mo', 'Europe/Berlin', '2026-02-27T23:30:00Z'],
    ['2026-03-31T12:00:00Z', '-1mo1h', 'UTC', '2026-02-28T11:00:00Z'],
  ])('at %s, %s in %s is %s', (from, text, zone, instant) => {
    expect(formatTime(parseInstant(text, ns(from), zone) ?? 0n)).toBe(instant)
  })

  it('reads a time without an offset in the zone', () => {
    expect(parseInstant('2026-07-01T02:00:00', now, 'Europe/Berlin')).toBe(ns('2026-07-01T00:00:00Z'))
    expect(parseInstant('2026-07-01', now, 'America/New_York')).toBe(ns('2026-07-01T04:00:00Z'))
    expect(parseInstant('2026-07-01T02:00:00Z', now, 'Europe/Berlin')).toBe(ns('2026-07-01T02:00:00Z'))
  })

  it('takes the plus that a URL turned into a blank', () => {
    expect(parseInstant('2026-11-24T10:00:00 02:00', 0n)).toBe(now)
    expect(parseInstant('2026-11-24 08:00:00', 0n)).toBe(now)
  })

  it('moves what a store cannot hold to the edge of what it can', () => {
    expect(parseInstant('9999-12-31T23:59:59Z', now)).toBe(lastNs)
    expect(parseInstant('1900-01-01', now)).toBe(0n)
    expect(parseInstant('-36500d', now)).toBe(0n)
    expect(parseInstant('-100y100y100y100y100y100y100y', now, 'Asia/Kolkata')).toBe(0n)
  })

  it.each(['', '-', '-0h', '-1', '--1h', 'yesterday', '1h', 'garbage'])('refuses %s', (text) => {
    expect(parseInstant(text, now)).toBeUndefined()
  })
})
