import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { DeviceType, Place, State, Values } from '../../simulators/signals/device-type.ts'
import { drain } from '../../simulators/signals/device-type.ts'
import { deviceTypes, findType, presets, typesOfPreset } from '../../simulators/signals/device-types.ts'
import { noise, uniform } from '../../simulators/signals/random.ts'
import { activityAt, outdoorTemperatureAt, type SiteKind, trafficAt } from '../../simulators/signals/site.ts'

const hour = 3_600_000
/** A Monday. */
const monday = Date.parse('2026-06-01T00:00:00Z')

const kinds: readonly SiteKind[] = ['home', 'office', 'factory']
const seeds = fc.integer({ min: 0, max: 2 ** 32 - 1 })
const places: fc.Arbitrary<Place> = fc.record({
  seed: seeds,
  site: fc.record({ seed: seeds, kind: fc.constantFrom(...kinds) }),
})
const times = fc.integer({ min: Date.parse('2020-01-01T00:00:00Z'), max: Date.parse('2035-01-01T00:00:00Z') })
const types = fc.constantFrom<DeviceType>(...deviceTypes)

/** Measurements at equal distances. */
const series = (type: DeviceType, place: Place, { from = monday, stepMs = 60_000, count = 1440 } = {}) => {
  const all: { at: number; values: Values; state: State }[] = []
  let state = type.start(place, from)
  for (let n = 1; n <= count; n++) {
    const at = from + n * stepMs
    const measured = type.measure(place, at, state)
    state = measured.state
    all.push({ at, ...measured })
  }
  return all
}

const type = (name: string) => {
  const found = findType(name)
  if (found === undefined) throw new Error(`no type ${name}`)
  return found
}
const placeOf = (kind: SiteKind, seed = 7): Place => ({ seed, site: { kind, seed: 11 } })
const numbers = (all: readonly { values: Values }[], name: string) =>
  all.map(({ values }) => Number(values[name]))
const mean = (all: readonly number[]) => all.reduce((sum, one) => sum + one, 0) / all.length

const correlation = (one: readonly number[], other: readonly number[]) => {
  const [a, b] = [mean(one), mean(other)]
  const sum = (of: (at: number) => number) => one.reduce((total, _, at) => total + of(at), 0)
  const da = (at: number) => (one[at] ?? 0) - a
  const db = (at: number) => (other[at] ?? 0) - b
  return sum((at) => da(at) * db(at)) / Math.sqrt(sum((at) => da(at) ** 2) * sum((at) => db(at) ** 2))
}

/** The mean of a field at one hour of five working days. */
const atHour = (name: string, place: Place, field: string, hourOfDay: number) =>
  mean(
    numbers(
      series(type(name), place, { count: 5 * 1440 }).filter(
        ({ at }) => Math.floor((at - monday) / hour) % 24 === hourOfDay,
      ),
      field,
    ),
  )

describe('random numbers', () => {
  it('are the same for the same seed and keys, and evenly spread', () => {
    fc.assert(
      fc.property(seeds, times, (seed, at) => {
        expect(uniform(seed, at)).toBe(uniform(seed, at))
      }),
    )
    const tenths = Array<number>(10).fill(0)
    for (let n = 0; n < 20_000; n++) {
      const at = Math.floor(uniform(3, n) * 10)
      tenths[at] = (tenths[at] ?? 0) + 1
    }
    for (const count of tenths) expect(Math.abs(count - 2000)).toBeLessThan(200)
  })

  it('make noise without jumps', () => {
    fc.assert(
      fc.property(seeds, times, (seed, at) => {
        const [here, next] = [noise(seed, at, 60_000), noise(seed, at + 100, 60_000)]
        return Math.abs(here) <= 1 && Math.abs(next - here) < 0.01
      }),
    )
  })
})

describe('every type of device', () => {
  it('measures the same for the same seed, time and state', () => {
    fc.assert(
      fc.property(types, places, times, (one, place, from) => {
        const again = () => series(one, place, { from, stepMs: 10_000, count: 5 })
        expect(again()).toEqual(again())
      }),
    )
  })

  it('measures its fields and no others, each within its bounds, at any time of any day', () => {
    fc.assert(
      fc.property(
        types,
        places,
        times,
        fc.integer({ min: 1, max: 48 * hour }),
        (one, place, from, stepMs) => {
          for (const { values } of series(one, place, { from, stepMs, count: 4 })) {
            expect(Object.keys(values).sort()).toEqual(Object.keys(one.fields).sort())
            for (const [name, kind] of Object.entries(one.fields)) {
              const value = values[name]
              if (kind === 'boolean') expect(typeof value, name).toBe('boolean')
              else if (Array.isArray(kind)) expect(kind, name).toContain(value)
              else {
                const { min, max } = kind as { min: number; max: number }
                expect(Number(value), `${one.name} ${name}`).toBeGreaterThanOrEqual(min)
                expect(Number(value), `${one.name} ${name}`).toBeLessThanOrEqual(max)
                expect(Object.is(value, -0), name).toBe(false)
              }
            }
          }
        },
      ),
      { numRuns: 500 },
    )
  })

  it('has values that another device of the place does not have', () => {
    for (const one of deviceTypes) {
      const [first, second] = [series(one, placeOf('factory', 1)), series(one, placeOf('factory', 2))]
      expect(
        first.map(({ values }) => values),
        one.name,
      ).not.toEqual(second.map(({ values }) => values))
    }
  })

  it('keeps its state as JSON, so that a measurement changes nothing', () => {
    for (const one of deviceTypes) {
      const state = Object.freeze(one.start(placeOf('home'), monday))
      const { state: next } = one.measure(placeOf('home'), monday + hour, state)
      expect(JSON.parse(JSON.stringify(next))).toEqual(next)
    }
  })
})

describe('the signals are believable', () => {
  it('the warmest hour is in the afternoon, the coldest at night, and July is warmer than January', () => {
    const site = { kind: 'home', seed: 5 } as const
    const days = Array.from({ length: 60 }, (_, day) => day)
    const at = (from: string, hourOfDay: number) =>
      mean(days.map((day) => outdoorTemperatureAt(site, Date.parse(from) + (24 * day + hourOfDay) * hour)))
    expect(at('2026-06-15T00:00:00Z', 15)).toBeGreaterThan(at('2026-06-15T00:00:00Z', 3) + 5)
    expect(at('2026-06-15T12:00:00Z', 0)).toBeGreaterThan(at('2026-01-01T12:00:00Z', 0) + 10)
  })

  it('warmer air is drier', () => {
    const all = series(type('temperature'), placeOf('office'), { count: 7 * 1440 })
    expect(correlation(numbers(all, 'temperature'), numbers(all, 'humidity'))).toBeLessThan(-0.3)
  })

  it('people raise the carbon dioxide of an office', () => {
    expect(atHour('air_quality', placeOf('office'), 'co2', 11)).toBeGreaterThan(
      atHour('air_quality', placeOf('office'), 'co2', 4) + 300,
    )
  })

  it('roads and doors have rush hours', () => {
    expect(trafficAt(monday + 8 * hour)).toBeGreaterThan(3 * trafficAt(monday + 3 * hour))
    const site = { kind: 'office', seed: 1 } as const
    expect(activityAt(site, monday + 9 * hour)).toBeGreaterThan(5 * activityAt(site, monday + 3 * hour))
    expect(activityAt(site, monday + (5 * 24 + 9) * hour)).toBeLessThan(0.2)
    expect(atHour('motion', placeOf('office'), 'motion', 9)).toBeGreaterThan(
      atHour('motion', placeOf('office'), 'motion', 3) + 0.2,
    )
  })

  it('power is voltage times current times power factor, and energy is its sum', () => {
    const all = series(type('smart_meter'), placeOf('home'))
    for (const { values } of all) {
      const { power, voltage, current, power_factor: factor } = values as Record<string, number>
      expect(Number(voltage) * Number(current) * Number(factor)).toBeCloseTo(Number(power), -1.5)
    }
    const [first, last] = [numbers(all, 'energy').at(0), numbers(all, 'energy').at(-1)]
    expect(Number(last) - Number(first)).toBeCloseTo((mean(numbers(all, 'power')) * 24) / 1000, 0)
  })

  it('a machine under load is warmer and shakes more', () => {
    const all = series(type('industrial'), placeOf('factory'), { count: 5 * 1440 })
    expect(correlation(numbers(all, 'load'), numbers(all, 'temperature'))).toBeGreaterThan(0.8)
    expect(correlation(numbers(all, 'load'), numbers(all, 'vibration'))).toBeGreaterThan(0.8)
  })

  it('a vehicle is where its speed brings it', () => {
    const all = series(type('tracker'), placeOf('home'), {
      stepMs: 1000,
      count: 4 * 3600,
      from: monday + 8 * hour,
    })
    const driven = Number(all.at(-1)?.values.odometer)
    expect(driven).toBeGreaterThan(1)
    expect(driven).toBeCloseTo(mean(numbers(all, 'speed')) * 4, 0)
  })

  it.each(['energy', 'access_count', 'detections', 'parts_count', 'odometer'])('%s never falls', (field) => {
    const one = deviceTypes.find(({ fields }) => Object.hasOwn(fields, field))
    const all = numbers(series(one as DeviceType, placeOf('factory')), field)
    expect(all.at(-1)).toBeGreaterThan(all[0] ?? 0)
    for (let n = 1; n < all.length; n++) expect(all[n]).toBeGreaterThanOrEqual(all[n - 1] ?? 0)
  })

  it('a battery only loses charge, faster with more messages, until it is replaced', () => {
    const level = (stepMs: number) =>
      numbers(series(type('temperature'), placeOf('home'), { stepMs, count: hour / stepMs }), 'battery_level')
    const often = level(1000)
    for (let n = 1; n < often.length; n++) expect(often[n]).toBeLessThanOrEqual(often[n - 1] ?? 0)
    expect(often.at(-1)).toBeLessThan(Number(level(60_000).at(-1)))
    expect(drain(3, hour)).toBe(100)
  })

  it('there are booleans, texts and numbers', () => {
    const kindsOf = (one: DeviceType) =>
      Object.values(series(one, placeOf('home'), { count: 1 })[0]?.values ?? {})
    const found = new Set(deviceTypes.flatMap(kindsOf).map((value) => typeof value))
    expect(found).toEqual(new Set(['number', 'boolean', 'string']))
  })
})

describe('the places', () => {
  it('have 9, 16 and 30 devices', () => {
    expect(Object.keys(presets).map((name) => typesOfPreset(name as SiteKind).length)).toEqual([9, 16, 30])
  })

  it('home has sensors, locks and cameras', () => {
    const names = new Set(typesOfPreset('home').map(({ name }) => name))
    for (const name of ['temperature', 'door_lock', 'camera']) expect(names).toContain(name)
  })
})
