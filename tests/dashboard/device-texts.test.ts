import { describe, expect, it } from 'vitest'
import { draftOf, parseDraft, retyped } from '../../dashboard/pages/device/config-values.ts'
import { presenceOf } from '../../dashboard/pages/device/presence.ts'
import { sentenceOf } from '../../dashboard/pages/device/presence-card.tsx'
import { placeFields, trackOf } from '../../dashboard/pages/device/track.ts'
import { usualRange } from '../../dashboard/pages/device/usual-range.ts'
import { readView, writeView } from '../../dashboard/pages/device/view.ts'

const noon = Date.parse('2026-03-01T12:00:00Z')
const hour = 3_600_000

const change = (event: 'online' | 'offline' | 'updated', hours: number, reason?: string) => ({
  event,
  timestamp: new Date(noon + hours * hour).toISOString(),
  reason,
})

describe('the presence of a device', () => {
  const span = { from: noon, to: noon + 10 * hour }

  it('is told by its events, and by the last one before the time that is shown', () => {
    const presence = presenceOf(
      [change('online', 8), change('offline', 5, 'silent'), change('updated', 4), change('online', -20)],
      span,
    )
    expect(presence.stretches.map(({ online, from, to }) => [online, (to - from) / hour])).toEqual([
      [true, 5],
      [false, 3],
      [true, 2],
    ])
    expect(presence.stretches[1]?.reason).toBe('silent')
    expect(presence).toMatchObject({ onlinePart: 0.7, outages: 1, longestMs: 3 * hour })
  })

  it('is not known before the first event', () => {
    const presence = presenceOf([change('online', 5)], span)
    expect(presence.stretches.map(({ online }) => online)).toEqual([undefined, true])
    expect(presence.onlinePart).toBe(1)
    expect(presenceOf([], span)).toMatchObject({ onlinePart: undefined, outages: 0 })
  })

  it('is told in words, of a young device since it first came online', () => {
    const words = (events: ReturnType<typeof change>[], isYoung: boolean) =>
      sentenceOf(presenceOf(events, span), isYoung)
    expect(words([], true)).toBe('It has not been online yet.')
    expect(words([], false)).toBe('Nothing is known of this time.')
    expect(words([change('online', 5)], true)).toBe(
      'Online 100 % of the time since it first came online, never offline.',
    )
    expect(words([change('online', 5)], false)).toBe('Online 100 % of the time that is known, never offline.')
    expect(words([change('online', -1), change('offline', 9)], false)).toBe(
      'Online 90 % of this time; offline once, for 1 h.',
    )
  })

  it('does not count one state twice', () => {
    const presence = presenceOf([change('online', 3), change('online', 2), change('offline', 1)], span)
    expect(presence.stretches.map(({ online }) => online)).toEqual([undefined, false, true])
  })
})

describe('values of a configuration', () => {
  it.each([
    [21.5, 'number', '21.5'],
    ['on', 'text', 'on'],
    [false, 'yes/no', 'false'],
    [{ a: [1, null] }, 'JSON', '{"a":[1,null]}'],
  ])('become a draft and the same value again: %j', (value, type, text) => {
    const draft = draftOf(value)
    expect(draft).toEqual({ type, text })
    expect(parseDraft(draft)).toEqual({ ok: true, value })
  })

  it.each([
    ['number', ''],
    ['number', 'many'],
    ['number', '1e999'],
    ['JSON', '{'],
    ['JSON', 'null'],
  ] as const)('are refused as %s: %j', (type, text) => {
    expect(parseDraft({ type, text }).ok).toBe(false)
  })

  it('keep their meaning with another type where they have one', () => {
    expect(retyped({ type: 'text', text: 'true' }, 'yes/no').text).toBe('true')
    expect(retyped({ type: 'text', text: 'hello' }, 'JSON').text).toBe('"hello"')
    expect(retyped({ type: 'number', text: '5' }, 'JSON').text).toBe('5')
  })
})

describe('the track of a device', () => {
  it('is found by the names of its fields', () => {
    expect(placeFields(['speed', 'latitude', 'longitude'])).toEqual(['latitude', 'longitude'])
    expect(placeFields(['gps.lat', 'lon', 'gps.lon'])).toEqual(['gps.lat', 'gps.lon'])
    expect(placeFields(['flat', 'balcony'])).toBeUndefined()
    expect(placeFields(['lat'])).toBeUndefined()
  })

  it('has north up and east on the right, with the same scale in both directions', () => {
    const track = trackOf([
      [1, 2, 3],
      [60, 60.01, 60.01],
      [10, 10, 10.02],
    ])
    const [[x1 = 0, y1 = 0] = [], [x2 = 0, y2 = 0] = [], [x3 = 0, y3 = 0] = []] = track?.points ?? []
    expect(x2).toBeCloseTo(x1)
    expect(y2).toBeLessThan(y1)
    expect(y3).toBeCloseTo(y2)
    // A degree of longitude is half as long at 60° north.
    expect((x3 - x2) / (y1 - y2)).toBeCloseTo(1, 1)
    expect(track?.last).toEqual({ latitude: 60.01, longitude: 10.02 })
  })

  it('does not enlarge the noise of a device that stands still', () => {
    expect(
      trackOf([
        [1, 2],
        [48, 48],
        [11, 11],
      ])?.metres,
    ).toBeGreaterThan(50)
    expect(trackOf([[1], [undefined], [11]])).toBeUndefined()
  })
})

describe('the usual range', () => {
  it.each([
    [undefined, 60],
    [0, 5],
    [5, 5],
    [6, 15],
    [20, 60],
    [61, 60],
    [10_000, 60],
  ])('of a device whose oldest reading came %s minutes ago is %i minutes', (age, minutes) => {
    const oldest = age === undefined ? undefined : noon - age * 60_000
    expect(usualRange(oldest, noon)).toEqual({ lastMs: minutes * 60_000 })
  })
})

describe('the view in the address', () => {
  it.each([
    '',
    'range=1h',
    'range=24h&agg=max&view=apart&fields=temperature,humidity',
    'range=1772366400-1772370000',
    'fields=,',
  ])('is read as it was written: %j', (query) => {
    const written = writeView(readView(new URLSearchParams(query)))
    const entries = Object.entries(written).filter(
      (entry): entry is [string, string] => entry[1] !== undefined,
    )
    expect(readView(new URLSearchParams(entries))).toEqual(readView(new URLSearchParams(query)))
  })

  it('ignores what it does not know', () => {
    expect(readView(new URLSearchParams('range=x&agg=y'))).toEqual(readView(new URLSearchParams()))
  })
})
