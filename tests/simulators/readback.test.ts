import { describe, expect, it } from 'vitest'
import type { SentReading } from '../../simulators/device.ts'
import { compare, instantOf, type StoredReading } from '../../simulators/readback.ts'

const values = { temperature: 21.5, humidity: 40, pressure: 1013.25, battery_level: 90, signal_strength: -60 }
const sent = (second: number): SentReading => ({ timestamp: `2030-01-01T00:00:0${second}.500Z`, values })
const stored = ({ timestamp }: SentReading, changed: Record<string, unknown> = {}): StoredReading => ({
  timestamp,
  values: { ...values, ...changed },
})
const all = [sent(1), sent(2), sent(3)]

describe('comparing what was acknowledged with what is stored', () => {
  it('finds nothing where nothing is wrong, in any order', () => {
    const back = all.map((reading) => stored(reading)).reverse()
    expect(compare(all, back)).toEqual({ faults: [], unexpected: 0 })
  })

  it('finds a missing reading', () => {
    const { faults } = compare(all, [stored(sent(1)), stored(sent(3))])
    expect(faults).toMatchObject([{ kind: 'missing', timestamp: sent(2).timestamp }])
  })

  it.each([
    ['another value', { temperature: 21.500_000_1 }, 'temperature was sent as 21.5 and reads 21.5000001'],
    ['another type', { humidity: '40' }, 'humidity was sent as 40 and reads "40"'],
    ['a field less', { pressure: undefined }, 'pressure was sent as 1013.25 and reads nothing'],
    ['a field more', { colour: 'red' }, 'colour was sent as nothing and reads "red"'],
  ])('finds %s', (_, changed, what) => {
    const back = [stored(sent(1)), stored(sent(2), changed), stored(sent(3))]
    expect(compare(all, back).faults).toEqual([{ kind: 'altered', timestamp: sent(2).timestamp, what }])
  })

  it('takes a reading whose time moved by a microsecond for a missing and an unexpected one', () => {
    const back = [stored(sent(1)), { timestamp: '2030-01-01T00:00:02.500001Z', values }, stored(sent(3))]
    expect(compare(all, back)).toMatchObject({ faults: [{ kind: 'missing' }], unexpected: 1 })
  })

  it('counts a second reading of one time as unexpected', () => {
    expect(compare([sent(1)], [stored(sent(1)), stored(sent(1))])).toEqual({ faults: [], unexpected: 1 })
  })

  it('lets a reading without an acknowledgement be stored or not', () => {
    expect(compare([], [], [sent(1)])).toEqual({ faults: [], unexpected: 0 })
    expect(compare([], [stored(sent(1))], [sent(1)])).toEqual({ faults: [], unexpected: 0 })
  })
})

describe('times', () => {
  it('are the same however many digits they are written with', () => {
    expect(instantOf('2030-01-01T00:00:01Z')).toBe(instantOf('2030-01-01T00:00:01.000Z'))
    expect(instantOf('2030-01-01T00:00:01.500Z')).toBe(instantOf('2030-01-01T00:00:01.500000000Z'))
  })

  it('differ by as little as a nanosecond', () => {
    expect(instantOf('2030-01-01T00:00:01.000000001Z')).toBe(1_893_456_001_000_000_001n)
  })

  it.each(['', 'now', '2030-13-01T00:00:00Z', '2030-01-01T00:00:00', undefined, 5])('are not %j', (text) => {
    expect(instantOf(text)).toBeUndefined()
  })
})
