import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createMemoryLimiter } from '../../../../lib/http/limit/memory.ts'
import { limiterContract, newRule } from '../../../support/limiter-contract.ts'

limiterContract('in memory', 300, async () => ({
  limiter: createMemoryLimiter(() => Date.now()),
  end: async () => {},
}))

describe('memory limiter', () => {
  it('property: tells the first moment that lets one in, to a millisecond', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 50 }),
        fc.integer({ min: 0, max: 50 }),
        fc.integer({ min: 1000, max: 100_000 }),
        fc.nat(99_999),
        async (limit, before, windowMs, into) => {
          const rule = newRule(limit, { windowMs })
          let now = 0
          // The same history in a limiter of its own for every moment that is asked about.
          const refusedThen = async () => {
            now = 1_000_000 * windowMs
            const limiter = createMemoryLimiter(() => now)
            for (let i = 0; i < before; i++) await limiter.take(rule, 'one')
            now += windowMs + (into % windowMs)
            let outcome = await limiter.take(rule, 'one')
            while (outcome.allowed) outcome = await limiter.take(rule, 'one')
            return { limiter, resetAt: outcome.resetAt }
          }
          const { limiter, resetAt } = await refusedThen()
          now = resetAt
          expect((await limiter.take(rule, 'one')).allowed).toBe(true)
          const again = await refusedThen()
          const early = resetAt - 2
          if (early <= now) return
          now = early
          expect((await again.limiter.take(rule, 'one')).allowed).toBe(false)
        },
      ),
      { numRuns: 300 },
    )
  })

  it('keeps nothing of one instance for another', async () => {
    const rule = newRule(1)
    for (const limiter of [createMemoryLimiter(), createMemoryLimiter()]) {
      expect((await limiter.take(rule, 'one')).allowed).toBe(true)
    }
  })
})
