import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compare, turnsOf } from '../../benchmarks/ratios.ts'

const pairsOf = (...ratios: number[]) => ratios.map((ratio) => ({ ours: ratio * 50, other: 50 }))

describe('compare', () => {
  it('gives the ratio of each round and their median', () => {
    const { ratios, median } = compare([
      { ours: 10, other: 20 },
      { ours: 30, other: 20 },
      { ours: 22, other: 20 },
    ])
    expect(ratios).toEqual([0.5, 1.5, 1.1])
    expect(median).toBe(1.1)
  })

  it('gives the t interval of the logarithms', () => {
    // ln 0.9, ln 1, ln 1.1: mean -0.003350, standard deviation 0.100377, t(2; 97.5 %) = 4.303.
    const { interval } = compare(pairsOf(0.9, 1, 1.1))
    expect(interval?.low).toBeCloseTo(Math.exp(-0.00335 - (4.303 * 0.100377) / Math.sqrt(3)), 3)
    expect(interval?.high).toBeCloseTo(Math.exp(-0.00335 + (4.303 * 0.100377) / Math.sqrt(3)), 3)
  })

  it('has no interval for one round, and a point for equal rounds', () => {
    expect(compare(pairsOf(1.2)).interval).toBeUndefined()
    const { interval } = compare(pairsOf(1.2, 1.2, 1.2))
    expect(interval?.low).toBeCloseTo(1.2, 12)
    expect(interval?.high).toBeCloseTo(1.2, 12)
  })

  it('is inverted when the two checkouts change places', () => {
    const positive = fc.double({ min: 0.01, max: 1000, noNaN: true })
    const pairs = fc.array(fc.record({ ours: positive, other: positive }), { minLength: 2, maxLength: 60 })
    fc.assert(
      fc.property(pairs, (measured) => {
        const { interval } = compare(measured)
        const swapped = compare(measured.map(({ ours, other }) => ({ ours: other, other: ours })))
        expect((interval?.low ?? 0) * (swapped.interval?.high ?? 0)).toBeCloseTo(1, 6)
      }),
    )
  })

  it('contains the true ratio in about 95 % of samples', () => {
    let state = 12345
    const uniform = () => {
      state = (state * 1103515245 + 12345) % 2147483648
      return (state + 0.5) / 2147483648
    }
    const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform())
    for (const rounds of [3, 7, 40]) {
      let contained = 0
      for (let sample = 0; sample < 4000; sample += 1) {
        const { interval } = compare(
          pairsOf(...Array.from({ length: rounds }, () => 1.05 * Math.exp(0.08 * normal()))),
        )
        if (interval && interval.low <= 1.05 && interval.high >= 1.05) contained += 1
      }
      expect(contained / 4000).toBeGreaterThan(0.935)
      expect(contained / 4000).toBeLessThan(0.965)
    }
  })
})

it('lets each checkout go first in every other round', () => {
  const order = [0, 1, 2, 3].flatMap((round) => turnsOf(round, ['A', 'B']))
  expect(order.join(' ')).toBe('A B B A A B B A')
})
