import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type FleetState, nextStep, type Results, sliceSize } from '../../../lib/commands/fleet-step.ts'

const now = 1_000_000
const state = (more: Partial<FleetState> = {}): FleetState => ({
  status: 'running',
  targets: 100,
  released: 0,
  canaries: 0,
  canaryUntil: null,
  failedShare: null,
  minResults: 10,
  ratePerS: null,
  paidUntil: now,
  expiresAt: now + 60_000,
  ...more,
})
const results = (more: Partial<Results> = {}): Results => ({
  unfinished: 0,
  succeeded: 0,
  failed: 0,
  ...more,
})

describe('a fleet command', () => {
  it('without a rate is released in slices', () => {
    expect(nextStep(state(), results(), now)).toMatchObject({ do: 'release', count: 100 })
    expect(nextStep(state({ targets: 10_000 }), results(), now)).toMatchObject({ count: sliceSize })
    expect(nextStep(state({ targets: 10_000, released: 9_999 }), results(), now)).toMatchObject({ count: 1 })
  })

  it('is finished when every device had its turn and every command has ended', () => {
    const released = state({ released: 100 })
    expect(nextStep(released, results({ unfinished: 1 }), now)).toMatchObject({ do: 'wait' })
    expect(nextStep(released, results({ succeeded: 98, failed: 1 }), now)).toEqual({ do: 'finish' })
  })

  it('that has expired is released no further', () => {
    const late = state({ released: 40, expiresAt: now })
    expect(nextStep(late, results({ unfinished: 3 }), now)).toMatchObject({ do: 'wait' })
    expect(nextStep(late, results(), now)).toEqual({ do: 'finish' })
    expect(nextStep({ ...late, status: 'canary', canaries: 50 }, results(), now)).toEqual({ do: 'finish' })
  })

  it.each(['cancelled', 'aborted', 'finished'] as const)('that is %s is only closed', (status) => {
    expect(nextStep(state({ status }), results({ unfinished: 5 }), now)).toEqual({ do: 'close' })
  })
})

describe('the rate', () => {
  /** Runs a fleet command on a clock of its own. @returns the time and size of each group. */
  const run = (ratePerS: number, targets: number, pauses: readonly number[] = []) => {
    let [at, released, paidUntil] = [now, 0, now - Math.ceil(1000 / ratePerS)]
    const groups: { at: number; count: number }[] = []
    const late = [...pauses]
    while (released < targets) {
      const step = nextStep(
        state({ ratePerS, targets, released, paidUntil, expiresAt: now + 1e12 }),
        results(),
        at,
      )
      if (step.do === 'pause') at += step.ms + (late.shift() ?? 0)
      if (step.do !== 'release') continue
      groups.push({ at, count: step.count })
      released += step.count
      paidUntil = step.paidUntil
    }
    return groups
  }

  it('gives the first device its turn at once, and then so many in a second', () => {
    expect(run(2, 5).map(({ at, count }) => [at - now, count])).toEqual([
      [0, 1],
      [500, 1],
      [1000, 1],
      [1500, 1],
      [2000, 1],
    ])
    expect(run(0.1, 2).map(({ at }) => at - now)).toEqual([0, 10_000])
  })

  it('is never exceeded by more than half a second of it, however the process is slowed down', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 2000 }),
        fc.array(fc.integer({ min: 0, max: 3000 }), { maxLength: 30 }),
        (rate, pauses) => {
          const groups = run(rate, Math.min(5000, rate * 5), pauses)
          for (const [first, { at }] of groups.entries()) {
            const inSecond = groups
              .slice(first)
              .filter((group) => group.at < at + 1000)
              .reduce((sum, { count }) => sum + count, 0)
            expect(inSecond).toBeLessThanOrEqual(rate * 1.5 + 2)
          }
        },
      ),
    )
  })

  it('is reached when nothing slows the process down', () => {
    const groups = run(100, 1000)
    const last = groups.at(-1)?.at ?? 0
    expect((last - now) / 1000).toBeCloseTo(10, 0)
  })
})

describe('canaries', () => {
  const canary = (more: Partial<FleetState> = {}) => state({ status: 'canary', canaries: 5, ...more })

  it('get the command first, and nobody else while they have not answered', () => {
    expect(nextStep(canary(), results(), now)).toMatchObject({ do: 'release', count: 5 })
    const released = canary({ released: 5 })
    expect(nextStep(released, results({ unfinished: 1, succeeded: 4 }), now)).toMatchObject({ do: 'wait' })
    expect(nextStep(released, results({ succeeded: 5 }), now)).toEqual({ do: 'go on' })
  })

  it('end it as soon as one fails, when nothing is said of failures', () => {
    expect(nextStep(canary({ released: 5 }), results({ unfinished: 4, failed: 1 }), now)).toMatchObject({
      do: 'abort',
    })
  })

  it('may fail by the share that is accepted', () => {
    const half = canary({ released: 5, failedShare: 0.5 })
    expect(nextStep(half, results({ unfinished: 1, succeeded: 2, failed: 2 }), now)).toMatchObject({
      do: 'wait',
    })
    expect(nextStep(half, results({ succeeded: 3, failed: 2 }), now)).toEqual({ do: 'go on' })
    expect(nextStep(half, results({ unfinished: 2, failed: 3 }), now)).toEqual({
      do: 'abort',
      reason: '3 of 3 results are failures: more than 50 %.',
    })
  })

  it('are not waited for after their time, but failures count then too', () => {
    const over = canary({ released: 5, canaryUntil: now, failedShare: 0.5 })
    expect(nextStep(over, results({ unfinished: 5 }), now)).toEqual({ do: 'go on' })
    expect(nextStep(over, results({ unfinished: 4, succeeded: 1 }), now - 1)).toMatchObject({ do: 'wait' })
    expect(nextStep(over, results({ unfinished: 3, failed: 2 }), now)).toMatchObject({ do: 'abort' })
  })

  it('that all expired without an answer end it', () => {
    expect(nextStep(canary({ released: 5 }), results(), now)).toEqual({
      do: 'abort',
      reason: 'No canary has answered.',
    })
  })
})

describe('failures', () => {
  it('end it when there are enough results, and more than the share failed', () => {
    const running = state({ released: 50, failedShare: 0.2 })
    expect(nextStep(running, results({ succeeded: 7, failed: 2 }), now)).toMatchObject({ do: 'release' })
    expect(nextStep(running, results({ succeeded: 8, failed: 2 }), now)).toMatchObject({ do: 'release' })
    expect(nextStep(running, results({ succeeded: 7, failed: 3 }), now)).toEqual({
      do: 'abort',
      reason: '3 of 10 results are failures: more than 20 %.',
    })
    expect(nextStep(state({ released: 50 }), results({ failed: 50 }), now)).toMatchObject({ do: 'release' })
  })
})
