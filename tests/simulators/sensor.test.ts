import { describe, expect, it } from 'vitest'
import { createClock, createSensor, type Random, units, type Values } from '../../simulators/sensor.ts'

/** Park and Miller's generator: the same seed gives the same numbers. */
const seeded = (seed: number): Random => {
  let state = seed
  return () => {
    state = (state * 48_271) % 2_147_483_647
    return state / 2_147_483_647
  }
}

const measured = (random: Random, count: number): Values[] => {
  const measure = createSensor(random)
  return Array.from({ length: count }, measure)
}

describe('the simulated sensor', () => {
  it('gives the same measurements for the same numbers, and others for others', () => {
    expect(measured(seeded(7), 50)).toEqual(measured(seeded(7), 50))
    expect(measured(seeded(7), 50)).not.toEqual(measured(seeded(8), 50))
  })

  it('walks slowly', () => {
    const values = measured(seeded(3), 500)
    values.slice(1).forEach(({ temperature, pressure }, at) => {
      expect(Math.abs(temperature - (values[at]?.temperature ?? 0))).toBeLessThan(0.2)
      expect(Math.abs(pressure - (values[at]?.pressure ?? 0))).toBeLessThan(0.1)
    })
  })

  it('stays within its bounds however long it is pushed to one side', () => {
    for (const push of [0, 0.999_999]) {
      const last = measured(() => push, 50_000).at(-1)
      expect(last?.temperature).toBeGreaterThanOrEqual(-10)
      expect(last?.temperature).toBeLessThanOrEqual(45)
      expect(last?.humidity).toBeGreaterThanOrEqual(10)
      expect(last?.humidity).toBeLessThanOrEqual(95)
      expect(last?.battery_level).toBeGreaterThanOrEqual(0)
      expect(last?.signal_strength).toBeLessThanOrEqual(-30)
    }
  })

  it('never charges its battery', () => {
    const levels = measured(seeded(5), 1000).map(({ battery_level }) => battery_level)
    expect(levels).toEqual([...levels].sort((a, b) => b - a))
    expect(levels.at(-1)).toBeLessThan(levels[0] ?? 0)
  })

  it('measures numbers that JSON carries unchanged, each with a unit', () => {
    for (const values of measured(seeded(11), 100)) {
      expect(JSON.parse(JSON.stringify(values))).toStrictEqual(values)
      expect(Object.keys(values)).toEqual(Object.keys(units))
    }
  })
})

describe('the clock of a device', () => {
  it('never shows a time twice, nor an earlier one', () => {
    const times = [1000, 1000, 990, 1001, 2000, 2000]
    const clock = createClock(() => times.shift() ?? 0)
    expect([clock(), clock(), clock(), clock(), clock(), clock()]).toEqual([
      1000, 1001, 1002, 1003, 2000, 2001,
    ])
  })
})
