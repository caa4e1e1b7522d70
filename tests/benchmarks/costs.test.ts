/** The costs of a fleet, computed by hand for one of them. */
import { expect, it } from 'vitest'
import { costsOf, paysFrom, prices, queueAgainstStream } from '../../benchmarks/costs.ts'

it('adds up what a fleet of 1,000 devices uses in a month of 30 days', () => {
  const cost = costsOf({ devices: 1000, intervalS: 60, bytes: 400, messagesPerCall: 10, callMs: 20 })
  // 43.2 million minutes, messages, rules and actions; 4.32 million calls.
  expect(cost.connection).toBeCloseTo(43.2 * 0.096, 6)
  expect(cost.messages).toBeCloseTo(43.2 * 1.2, 6)
  expect(cost.rule).toBeCloseTo(43.2 * 0.36, 6)
  expect(cost.queue).toBeCloseTo((43.2 + 8.64 + 0.648) * 0.4, 6)
  expect(cost.functions).toBeCloseTo(4.32 * 0.2 + 4_320_000 * 0.02 * 0.5 * 0.0000133334, 6)
})

it('finds the rate from which on a stream costs less', () => {
  for (const stream of ['kinesis', 'msk'] as const) {
    const rate = paysFrom(stream, 400)
    const [below, above] = [queueAgainstStream(rate - 1, 400), queueAgainstStream(rate + 1, 400)]
    expect(below[stream]).toBeGreaterThan(below.queue)
    expect(above[stream]).toBeLessThan(above.queue)
  }
})

it('names a source for each price', () => {
  for (const { source, usd } of Object.values(prices)) {
    expect(source).toMatch(/^https:\/\/aws\.amazon\.com\/\S+\/pricing\/$/)
    expect(usd).toBeGreaterThan(0)
  }
})
