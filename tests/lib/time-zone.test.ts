import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseTime } from '../../lib/telemetry/time.ts'
import { epochOfLocal, isTimeZone, localOfEpoch } from '../../lib/time-zone.ts'

const wall = (text: string) => Date.parse(`${text}Z`)
const zones = Intl.supportedValuesOf('timeZone')

describe('isTimeZone', () => {
  it.each([
    'UTC',
    'Europe/Berlin',
    'europe/berlin',
    'America/Argentina/Buenos_Aires',
    'Etc/GMT+5',
    'US/Eastern',
  ])('knows %s', (name) => {
    expect(isTimeZone(name)).toBe(true)
  })

  it.each([
    '',
    'Berlin',
    '+01:00',
    '-05:00',
    'GMT+1',
    'Europe/Berlin ',
    'Europe/Berlin\n',
    `A${'a'.repeat(64)}`,
  ])('refuses %j', (name) => {
    expect(isTimeZone(name)).toBe(false)
  })

  it('knows every zone of this Node, more than it keeps formatters for', () => {
    expect(zones.filter((zone) => !isTimeZone(zone))).toEqual([])
  })
})

describe('epochOfLocal', () => {
  it.each([
    ['UTC', '2026-03-29T02:30:00', '2026-03-29T02:30:00Z'],
    ['Europe/Berlin', '2026-01-15T12:00:00', '2026-01-15T11:00:00Z'],
    ['Europe/Berlin', '2026-07-15T12:00:00', '2026-07-15T10:00:00Z'],
    ['Asia/Kathmandu', '2026-07-15T12:00:00', '2026-07-15T06:15:00Z'],
    ['Pacific/Kiritimati', '2026-07-15T01:00:00', '2026-07-14T11:00:00Z'],
    ['Africa/Monrovia', '1971-06-01T00:00:00', '1971-06-01T00:44:30Z'],
  ])('in %s the clock shows %s at %s', (zone, local, instant) => {
    expect(epochOfLocal(zone, wall(local))).toBe(Date.parse(instant))
    expect(localOfEpoch(zone, Date.parse(instant))).toBe(wall(local))
  })

  it('moves a time that the clock skips forward', () => {
    expect(epochOfLocal('Europe/Berlin', wall('2026-03-29T02:30:00'))).toBe(
      Date.parse('2026-03-29T01:30:00Z'),
    )
    // Samoa had no 30 December 2011.
    expect(epochOfLocal('Pacific/Apia', wall('2011-12-30T12:00:00'))).toBe(wall('2011-12-30T22:00:00'))
  })

  it('takes of a time that the clock repeats the instant nearest to another, or the earlier', () => {
    const local = wall('2026-10-25T02:30:00')
    const [earlier, later] = [Date.parse('2026-10-25T00:30:00Z'), Date.parse('2026-10-25T01:30:00Z')]
    expect(epochOfLocal('Europe/Berlin', local)).toBe(earlier)
    expect(epochOfLocal('Europe/Berlin', local, earlier - 1)).toBe(earlier)
    expect(epochOfLocal('Europe/Berlin', local, later + 1)).toBe(later)
    expect(epochOfLocal('Europe/Berlin', local, later - 60_000)).toBe(later)
  })

  it('finds every instant again from the clock on the wall', () => {
    const instant = fc.date({
      min: new Date('1972-02-01'),
      max: new Date('2100-01-01'),
      noInvalidDate: true,
    })
    fc.assert(
      fc.property(fc.constantFrom(...zones), instant, (zone, date) => {
        const at = date.getTime()
        expect(epochOfLocal(zone, localOfEpoch(zone, at), at)).toBe(at)
      }),
      { numRuns: 2000 },
    )
  })
})

describe('a time without an offset', () => {
  const berlin = (wallClockMs: number) => epochOfLocal('Europe/Berlin', wallClockMs)

  it.each([
    ['2026-07-15T12:00:00', '2026-07-15T10:00:00Z'],
    ['2026-07-15 12:00', '2026-07-15T10:00:00Z'],
    ['2026-07-15T12:00:00.000000001', '2026-07-15T10:00:00.000000001Z'],
    ['2026-07-15', '2026-07-14T22:00:00Z'],
    ['2026-07-15T12:00:00Z', '2026-07-15T12:00:00Z'],
    ['2026-07-15T12:00:00+00:00', '2026-07-15T12:00:00Z'],
    ['1784109600', '2026-07-15T10:00:00Z'],
  ])('%s is read in the zone that is given: %s', (text, instant) => {
    expect(parseTime(text, berlin)).toBe(parseTime(instant))
  })
})
