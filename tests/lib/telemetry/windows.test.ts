import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseWindow, type WindowLength } from '../../../lib/telemetry/duration.ts'
import { formatTime } from '../../../lib/telemetry/time.ts'
import { windowAt, windowBounds, windowStarts } from '../../../lib/telemetry/windows.ts'
import { localOfEpoch } from '../../../lib/time-zone.ts'

const ns = (iso: string) => BigInt(Date.parse(iso)) * 1_000_000n
const length = (text: string) => parseWindow(text) as WindowLength

/** Starts of the windows of a range, as ISO 8601. */
const startsOf = (window: string, zone: string, from: string, to: string) => {
  const range = { from: ns(from), to: ns(to) }
  const starts = windowStarts(windowBounds(length(window), zone, range), range)
  return starts.map((start) => formatTime(BigInt(start) * 1_000_000_000n))
}

describe('windows', () => {
  it.each([
    [
      '1h',
      'Europe/Berlin',
      '2026-03-29T00:30:00Z',
      '2026-03-29T02:00:00Z',
      ['2026-03-29T00:00:00Z', '2026-03-29T01:00:00Z'],
    ],
    [
      '90m',
      'UTC',
      '1970-01-01T02:00:00Z',
      '1970-01-01T04:00:00Z',
      ['1970-01-01T01:30:00Z', '1970-01-01T03:00:00Z'],
    ],
    [
      '1d',
      'UTC',
      '2026-03-28T12:00:00Z',
      '2026-03-29T00:00:01Z',
      ['2026-03-28T00:00:00Z', '2026-03-29T00:00:00Z'],
    ],
    // 29 March has 23 hours in Berlin, 25 October has 25.
    [
      '1d',
      'Europe/Berlin',
      '2026-03-28T12:00:00Z',
      '2026-03-30T00:00:00Z',
      ['2026-03-27T23:00:00Z', '2026-03-28T23:00:00Z', '2026-03-29T22:00:00Z'],
    ],
    [
      '1d',
      'Europe/Berlin',
      '2026-10-25T12:00:00Z',
      '2026-10-26T12:00:00Z',
      ['2026-10-24T22:00:00Z', '2026-10-25T23:00:00Z'],
    ],
    // Day 0 of windows of three days is 1970-01-01.
    [
      '3d',
      'Asia/Kathmandu',
      '1970-01-03T00:00:00Z',
      '1970-01-04T00:00:00Z',
      ['1969-12-31T18:30:00Z', '1970-01-03T18:30:00Z'],
    ],
    [
      '1w',
      'UTC',
      '2026-11-24T08:00:00Z',
      '2026-11-30T00:00:01Z',
      ['2026-11-23T00:00:00Z', '2026-11-30T00:00:00Z'],
    ],
    ['1w', 'Europe/Berlin', '1970-01-01T00:00:00Z', '1970-01-01T01:00:00Z', ['1969-12-28T23:00:00Z']],
    ['2w', 'UTC', '1970-01-12T00:00:00Z', '1970-01-12T00:00:01Z', ['1970-01-12T00:00:00Z']],
    [
      '1mo',
      'America/New_York',
      '2026-02-15T00:00:00Z',
      '2026-04-02T00:00:00Z',
      ['2026-02-01T05:00:00Z', '2026-03-01T05:00:00Z', '2026-04-01T04:00:00Z'],
    ],
    ['3mo', 'UTC', '2026-05-15T00:00:00Z', '2026-05-16T00:00:00Z', ['2026-04-01T00:00:00Z']],
    [
      '1y',
      'Europe/Berlin',
      '2025-12-31T22:00:00Z',
      '2026-01-01T00:00:00Z',
      ['2024-12-31T23:00:00Z', '2025-12-31T23:00:00Z'],
    ],
    // Samoa had no 30 December 2011.
    [
      '1d',
      'Pacific/Apia',
      '2011-12-29T12:00:00Z',
      '2011-12-31T12:00:00Z',
      ['2011-12-29T10:00:00Z', '2011-12-30T10:00:00Z', '2011-12-31T10:00:00Z'],
    ],
    // Midnight is skipped in spring, and in autumn 23:00 to 24:00 comes twice.
    ['1d', 'America/Sao_Paulo', '2018-11-04T12:00:00Z', '2018-11-04T13:00:00Z', ['2018-11-04T03:00:00Z']],
    [
      '1d',
      'America/Sao_Paulo',
      '2018-02-18T01:30:00Z',
      '2018-02-18T03:30:00Z',
      ['2018-02-17T02:00:00Z', '2018-02-18T03:00:00Z'],
    ],
    ['1d', 'UTC', '2026-03-29T00:00:00Z', '2026-03-29T00:00:00Z', []],
  ])('of %s in %s from %s to %s', (window, zone, from, to, starts) => {
    expect(startsOf(window, zone, from, to)).toEqual(starts)
  })

  it('are the same days as those of the clock on the wall, in every zone', () => {
    const instant = fc.bigInt({ min: ns('1973-01-01'), max: ns('2060-01-01') })
    const zones = fc.constantFrom(...Intl.supportedValuesOf('timeZone'))
    fc.assert(
      fc.property(zones, instant, fc.nat(40), (zone, from, days) => {
        const range = { from, to: from + BigInt(days) * 86_400_000_000_000n + 1n }
        const bounds = windowBounds(length('1d'), zone, range)
        const starts = windowStarts(bounds, range)
        const second = Number(from / 1_000_000_000n)
        expect(windowAt(bounds, second).start).toBe(starts[0])
        expect(starts[0]).toBeLessThanOrEqual(second)
        expect([...starts].sort((one, other) => one - other)).toEqual(starts)
        // Changes of the clock at midnight aside, each start is a midnight and the days follow each other.
        const midnights = starts.filter((start) => localOfEpoch(zone, start * 1000) % 86_400_000 === 0)
        expect(midnights.length).toBeGreaterThanOrEqual(starts.length - 2)
        expect(starts.every((start, at) => at === 0 || start - (starts[at - 1] as number) <= 49 * 3600)).toBe(
          true,
        )
      }),
      { numRuns: 1500 },
    )
  })

  it('have one for every second of the range, between its bounds', () => {
    const texts = ['1s', '90m', '24h', '1d', '3d', '1w', '2w', '1mo', '5mo', '1y']
    fc.assert(
      fc.property(
        fc.constantFrom(...texts),
        fc.constantFrom('UTC', 'Europe/Berlin', 'America/St_Johns', 'Pacific/Apia'),
        fc.integer({ min: 0, max: 2_000_000_000 }),
        fc.array(fc.nat(9000), { minLength: 1 }),
        (text, zone, first, offsets) => {
          const range = { from: BigInt(first) * 1_000_000_000n, to: BigInt(first + 9001) * 1_000_000_000n }
          const bounds = windowBounds(length(text), zone, range)
          const starts = windowStarts(bounds, range)
          for (const second of offsets.map((offset) => first + offset)) {
            const { start, end } = windowAt(bounds, second)
            expect(starts).toContain(start)
            expect(start).toBeLessThanOrEqual(second)
            expect(end).toBeGreaterThan(second)
          }
        },
      ),
    )
  })

  it('are at most 10,000', () => {
    const range = { from: 0n, to: 10_000n * 86_400_000_000_000n }
    expect(windowStarts(windowBounds(length('1d'), 'UTC', range), range)).toHaveLength(10_000)
    const refusal = expect.objectContaining({
      code: 'VALIDATION_FAILED',
      details: [{ path: 'window', message: 'makes more than 10000 windows of this range' }],
    })
    for (const window of ['1d', '24h', '1s'])
      expect(() => windowBounds(length(window), 'UTC', { ...range, to: range.to + 1n })).toThrow(refusal)
  })
})
