/** The simulation of the queue against results of queueing theory. */
import { describe, expect, it } from 'vitest'
import { type QueueModel, seededRandom, simulateQueue } from '../../benchmarks/queue-simulation.ts'

/** One message in a call, no window, a constant time of service of 10 ms: M/D/c. */
const model = (ratePerS: number, concurrency: number, more: Partial<QueueModel> = {}): QueueModel => ({
  ratePerS,
  messages: 200_000,
  batch: 1,
  windowMs: 0,
  concurrency,
  serviceMs: () => 10,
  random: seededRandom(7),
  ...more,
})
/** Whether the figures differ by less than this share. */
const near = (value: number, expected: number, share = 0.03) =>
  expect(Math.abs(value - expected) / expected, `${value} instead of ${expected}`).toBeLessThan(share)

describe('a simulated queue', () => {
  it.each([20, 50, 80])(
    'with one container waits as Pollaczek and Khinchine say, at %i messages/s',
    (rate) => {
      const load = (rate * 10) / 1000
      near(simulateQueue(model(rate, 1)).meanMs, 10 + (load * 10) / (2 * (1 - load)), 0.05)
    },
  )

  it.each([
    [50, 1],
    [150, 2],
    [400, 5],
  ])('is used as much as its load, at %i messages/s and %i containers', (rate, concurrency) => {
    const { utilisation, throughputPerS } = simulateQueue(model(rate, concurrency))
    near(utilisation, (rate * 10) / 1000 / concurrency)
    near(throughputPerS, rate)
  })

  it.each([
    model(80, 1),
    model(400, 5),
    model(1000, 2, { batch: 100, windowMs: 1000, serviceMs: (n) => 10 + n / 2 }),
  ])('follows the law of Little (%#)', (one) => {
    const { meanInSystem, throughputPerS, meanMs } = simulateQueue(one)
    near(meanInSystem, (throughputPerS * meanMs) / 1000, 0.001)
  })

  it('waits less with more containers of the same load in all', () => {
    const [one, five] = [simulateQueue(model(80, 1)), simulateQueue(model(400, 5))]
    expect(five.meanMs).toBeLessThan(one.meanMs)
    expect(five.meanMs).toBeGreaterThanOrEqual(10)
  })

  it('beyond its capacity stores what its containers can do, in full batches', () => {
    const full = { batch: 100, windowMs: 1000, serviceMs: (n: number) => 10 + n / 2 }
    const { throughputPerS, utilisation, messagesPerCall } = simulateQueue(model(20_000, 3, full))
    near(throughputPerS, (3 * 100 * 1000) / 60, 0.01)
    near(utilisation, 1, 0.01)
    near(messagesPerCall, 100, 0.01)
  })

  it('waits for its window when little comes', () => {
    const { meanMs, messagesPerCall } = simulateQueue(
      model(0.1, 1, { batch: 100, windowMs: 1000, messages: 2000 }),
    )
    near(messagesPerCall, 1.1, 0.02)
    expect(meanMs).toBeGreaterThan(950)
    expect(meanMs).toBeLessThanOrEqual(1010)
  })
})
