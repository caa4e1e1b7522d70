import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ExactSum } from '../../../lib/telemetry/exact-sum.ts'

const double = fc.double({ noNaN: true, noDefaultInfinity: true })
const usual = fc.integer({ min: -40_000_000, max: 40_000_000 }).map((n) => n / 1e6)
const large = fc.constantFrom(
  1e308,
  -1e308,
  1.7976931348623157e308,
  -1.7976931348623157e308,
  2 ** 960,
  -(2 ** 907),
)
const numbers = fc.array(fc.oneof(double, usual, large), { maxLength: 40 })

const sumOf = (values: readonly number[]): number => {
  const sum = new ExactSum()
  for (const value of values) sum.add(value)
  return sum.value()
}

/** Doubles are whole multiples of 2^-1074. */
const unit = 1074n
const wholeOf = (value: number): bigint => {
  const [view, bits] = [new Float64Array([value]), 0xfffffffffffffn]
  const raw = new BigUint64Array(view.buffer)[0] as bigint
  const exponent = (raw >> 52n) & 0x7ffn
  const mantissa = exponent === 0n ? raw & bits : (raw & bits) | (bits + 1n)
  const whole = exponent === 0n ? mantissa : mantissa << (exponent - 1n)
  return raw >> 63n === 1n ? -whole : whole
}

/** The double nearest to so many units; of two the even one. */
const nearest = (whole: bigint): number => {
  const size = whole < 0n ? -whole : whole
  const excess = BigInt(size.toString(2).length) - 53n
  if (excess <= 0n) return Number(whole) * Number.MIN_VALUE
  const half = 1n << (excess - 1n)
  const [down, rest] = [size >> excess, size & ((1n << excess) - 1n)]
  const up = rest > half || (rest === half && (down & 1n) === 1n) ? 1n : 0n
  // The product of a whole number and a power of two is exact, or infinite.
  const power = Number(excess) - Number(unit)
  const value =
    power > 900 ? Number(down + up) * 2 ** 900 * 2 ** (power - 900) : Number(down + up) * 2 ** power
  return whole < 0n ? -value : value
}

describe('the sum of numbers', () => {
  it.each([
    [[], 0],
    [[0.1, 0.2, 0.3], 0.6],
    [[1e308, 1, -1e308], 1],
    [[1e308, 1e308, -1e308, -1e308, 5e-324], 5e-324],
    [[2 ** 960 + 2 ** 908, -(2 ** 960), -(2 ** 908), 0.5], 0.5],
    [[1.7976931348623157e308, 1.7976931348623157e308], Number.POSITIVE_INFINITY],
    [[34.808643], 34.808643],
    // Just below and just above the middle of two doubles: what is smaller than 1 decides.
    [[2 ** 961, 2 ** 908, -1e-6], 2 ** 961],
    [[2 ** 961, 2 ** 908, 1e-6], 2 ** 961 + 2 ** 909],
    [[-(2 ** 961), -(2 ** 908), 1e-6], -(2 ** 961)],
  ])('of %j is %d', (values, sum) => {
    expect(sumOf(values)).toBe(sum)
  })

  it('is the exact one, rounded once', () => {
    fc.assert(
      fc.property(numbers, (values) => {
        const exact = nearest(values.reduce((sum, value) => sum + wholeOf(value), 0n))
        expect(sumOf(values) + 0).toBe(exact + 0)
      }),
      { numRuns: 3000 },
    )
  })

  it('is the same in any order, and from the parts of any pieces', () => {
    fc.assert(
      fc.property(numbers, fc.array(fc.nat(40), { maxLength: 4 }), (values, cuts) => {
        const total = new ExactSum()
        const ends = [...cuts, values.length].sort((one, other) => one - other)
        for (const [at, end] of ends.entries()) {
          const piece = new ExactSum()
          for (const value of values.slice(ends[at - 1] ?? 0, end)) piece.add(value)
          total.take(piece.parts())
        }
        expect(total.value() + 0).toBe(sumOf(values) + 0)
        expect(sumOf(values.toReversed()) + 0).toBe(sumOf(values) + 0)
      }),
      { numRuns: 2000 },
    )
  })
})

describe('the mean of numbers', () => {
  it('is finite, also where their sum is not', () => {
    const sum = new ExactSum()
    for (const value of [1.5e308, 1.5e308, 1.2e308]) sum.add(value)
    expect(sum.value()).toBe(Number.POSITIVE_INFINITY)
    expect(sum.mean(3)).toBe(1.4e308)
  })
})
