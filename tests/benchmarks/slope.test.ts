import { describe, expect, it } from 'vitest'
import { slopeOf } from '../../benchmarks/slope.ts'

describe('the slope of points', () => {
  it('is that of the line through them', () => {
    expect(
      slopeOf([
        [0, 5],
        [1, 7],
        [2, 9],
      ]),
    ).toBe(2)
    expect(
      slopeOf([
        [0, 1],
        [1, 3],
        [2, 2],
      ]),
    ).toBeCloseTo(0.5)
  })

  it('is 0 without a line', () => {
    expect([slopeOf([]), slopeOf([[1, 2]])]).toEqual([0, 0])
  })
})
