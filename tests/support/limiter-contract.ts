/** What every limiter must do, wherever it counts. The wall clock is the test's: it stands still until it is moved. */
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Limiter, RateLimit } from '../../lib/http/limit/limiter.ts'

const minute = 60_000

let nextName = 0
/** A rule no other test counts by. */
export const newRule = (limit: number, more: Partial<RateLimit> = {}): RateLimit => ({
  name: `rule-${nextName++}`,
  limit,
  windowMs: minute,
  onFailure: 'closed',
  ...more,
})

const advance = (ms: number) => vi.setSystemTime(Date.now() + ms)
const windowEnd = ({ windowMs }: RateLimit) => (Math.floor(Date.now() / windowMs) + 1) * windowMs

/** @param runs how often each property is tried. */
export function limiterContract(
  name: string,
  runs: number,
  open: () => Promise<{ limiter: Limiter; end(): Promise<void> }>,
) {
  describe(`limiter contract: ${name}`, () => {
    let limiter: Limiter
    let end: () => Promise<void>

    beforeAll(async () => {
      ;({ limiter, end } = await open())
    })
    afterAll(() => end())
    beforeEach(() => {
      vi.useFakeTimers({ toFake: ['Date'], now: Date.UTC(2026, 4, 17, 12) })
    })
    afterEach(() => {
      vi.useRealTimers()
    })

    /** Takes so often one after the other, and tells what was left each time; -1 for a refusal. */
    const takeTimes = async (times: number, rule: RateLimit, subject = 'one') => {
      const left: number[] = []
      for (let i = 0; i < times; i++) {
        const { allowed, remaining } = await limiter.take(rule, subject)
        left.push(allowed ? remaining : -1)
      }
      return left
    }

    it('allows as many as the limit, counting down, then refuses', async () => {
      const rule = newRule(3)
      expect(await takeTimes(5, rule)).toEqual([2, 1, 0, -1, -1])
    })

    it('tells the limit, what is left and when the window ends', async () => {
      const rule = newRule(2)
      advance(12_345)
      const resetAt = Date.now() - 12_345 + minute
      expect(await limiter.take(rule, 'one')).toEqual({ allowed: true, limit: 2, remaining: 1, resetAt })
      expect(await limiter.take(rule, 'one')).toEqual({ allowed: true, limit: 2, remaining: 0, resetAt })
      const refused = await limiter.take(rule, 'one')
      expect(refused).toEqual({ allowed: false, limit: 2, remaining: 0, resetAt: resetAt + 1 })
    })

    it('weighs the window before by the share of it that a window back from now still covers', async () => {
      const rule = newRule(10)
      await takeTimes(10, rule)
      advance(minute + minute / 4)
      // Three quarters of 10, rounded down, still count.
      expect(await takeTimes(4, rule)).toEqual([2, 1, 0, -1])
      advance(minute / 4)
      // Half of 10, and the 3 of this window.
      expect(await takeTimes(3, rule)).toEqual([1, 0, -1])
    })

    it('does not count what it refuses', async () => {
      const rule = newRule(4)
      await takeTimes(50, rule)
      advance(minute + minute / 2)
      expect(await takeTimes(3, rule)).toEqual([1, 0, -1])
    })

    it('forgets all after two windows', async () => {
      const rule = newRule(2)
      await takeTimes(3, rule)
      advance(2 * minute)
      expect(await takeTimes(3, rule)).toEqual([1, 0, -1])
    })

    it('counts each subject by itself', async () => {
      const rule = newRule(1)
      const index = Math.floor(Date.now() / minute)
      const subjects = [
        '1',
        '11',
        '1:1',
        `1:${index}`,
        '192.0.2.7',
        '2001:db8::1',
        '2001:db8::',
        'device é *',
      ]
      for (const subject of subjects) {
        expect([subject, ...(await takeTimes(2, rule, subject))]).toEqual([subject, 0, -1])
      }
    })

    it('counts each rule by itself', async () => {
      const rule = newRule(1)
      for (const one of [rule, newRule(1), { ...rule, name: `${rule.name}-x` }]) {
        expect(await takeTimes(2, one, '7')).toEqual([0, -1])
      }
    })

    it('goes by the name of a rule, not by the object', async () => {
      const rule = newRule(2)
      await limiter.take(rule, 'one')
      expect(await takeTimes(2, { ...rule })).toEqual([0, -1])
    })

    it('allows no more when they come at once', async () => {
      const rule = newRule(20)
      const outcomes = await Promise.all(Array.from({ length: 50 }, () => limiter.take(rule, 'one')))
      const left = outcomes.filter(({ allowed }) => allowed).map(({ remaining }) => remaining)
      expect(left.sort((a, b) => b - a)).toEqual(Array.from({ length: 20 }, (_, i) => 19 - i))
    })

    const steps = fc.array(
      fc.record({
        wait: fc.oneof(
          { weight: 5, arbitrary: fc.constant(0) },
          { weight: 3, arbitrary: fc.integer({ min: 0, max: 20_000 }) },
          { weight: 1, arbitrary: fc.integer({ min: 0, max: 200_000 }) },
        ),
        subject: fc.constantFrom('a', 'b'),
      }),
      { minLength: 1, maxLength: 60 },
    )

    it('property: never more than the limit in a window, the one before weighed in', async () => {
      await fc.assert(
        fc.asyncProperty(fc.integer({ min: 1, max: 8 }), steps, async (limit, taken) => {
          const rule = newRule(limit)
          const allowedIn = new Map<string, number>()
          let last = { subject: '', at: 0, remaining: 0 }
          for (const { wait, subject } of taken) {
            advance(wait)
            const at = Date.now()
            const windowAt = windowEnd(rule)
            const count = allowedIn.get(`${subject} ${windowAt}`) ?? 0
            const before = allowedIn.get(`${subject} ${windowAt - minute}`) ?? 0
            const weight = before * (windowAt - at)
            const used = count + Math.floor(weight / minute)
            const outcome = await limiter.take(rule, subject)

            expect(outcome.limit).toBe(limit)
            if (outcome.allowed) allowedIn.set(`${subject} ${windowAt}`, count + 1)
            expect(allowedIn.get(`${subject} ${windowAt}`) ?? 0).toBeLessThanOrEqual(limit)
            // Where the weight is a whole number, binary fractions may fall to either side of it.
            if (before === 0 || weight % minute !== 0) {
              expect(outcome.allowed).toBe(used < limit)
              expect(outcome.remaining).toBe(Math.max(0, limit - used - 1))
            }
            if (last.subject === subject && last.at === at && outcome.allowed) {
              expect(outcome.remaining).toBe(last.remaining - 1)
            }
            if (outcome.allowed) {
              expect(outcome.resetAt).toBe(windowAt)
            } else {
              expect(outcome.remaining).toBe(0)
              expect(outcome.resetAt).toBeGreaterThan(at)
              expect(outcome.resetAt).toBeLessThanOrEqual(windowAt + 1)
            }
            last = { subject, at, remaining: outcome.remaining }
          }
        }),
        { numRuns: runs },
      )
    })

    it('property: who was refused and waits until the moment told is let in', async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.integer({ min: 1, max: 8 }),
          steps,
          fc.nat(90_000),
          async (limit, taken, longer) => {
            const rule = newRule(limit)
            for (const { wait } of taken) {
              advance(wait)
              await limiter.take(rule, 'one')
            }
            let outcome = await limiter.take(rule, 'one')
            while (outcome.allowed) outcome = await limiter.take(rule, 'one')
            vi.setSystemTime(outcome.resetAt + (longer % 3 === 0 ? longer : 0))
            expect((await limiter.take(rule, 'one')).allowed).toBe(true)
          },
        ),
        { numRuns: runs },
      )
    })
  })
}
