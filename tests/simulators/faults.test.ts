import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { clockError, commandFault, messageFaults, noFaults, readingFaults } from '../../simulators/faults.ts'

const count = 20_000
const share = (wanted: (n: number) => boolean) =>
  Array.from({ length: count }, (_, n) => n).filter(wanted).length / count

describe('faults', () => {
  it('do not happen when nobody asks for them', () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(), (seed, n) => {
        expect(messageFaults(noFaults, seed, n)).toEqual({
          failure: 'none',
          disconnect: false,
          duplicate: false,
          latencyMs: 0,
        })
        expect(readingFaults(noFaults, seed, n)).toEqual({ heldBack: false, offlineMs: 0 })
        expect(clockError(noFaults, seed, 1e12)).toBe(0)
      }),
    )
  })

  it('happen as often as asked, and independently of each other', () => {
    const rates = {
      ...noFaults,
      failure: 0.05,
      disconnect: 0.1,
      duplicate: 0.2,
      outOfOrder: 0.3,
      offline: 0.02,
    }
    const of = (n: number) => messageFaults(rates, 9, n)
    expect(share((n) => of(n).failure !== 'none')).toBeCloseTo(0.05, 2)
    expect(share((n) => of(n).failure === 'answer lost')).toBeCloseTo(0.025, 2)
    expect(share((n) => of(n).disconnect)).toBeCloseTo(0.1, 1)
    expect(share((n) => of(n).duplicate)).toBeCloseTo(0.2, 1)
    expect(share((n) => of(n).duplicate && of(n).disconnect)).toBeCloseTo(0.02, 2)
    expect(share((n) => readingFaults(rates, 9, n).heldBack)).toBeCloseTo(0.3, 1)
    expect(share((n) => readingFaults(rates, 9, n).offlineMs > 0)).toBeCloseTo(0.02, 2)
  })

  it('make devices that do not answer a command, or answer it twice', () => {
    const rates = { ...noFaults, silent: 0.1, answerTwice: 0.2 }
    expect(share((n) => commandFault(rates, 9, n) === 'silent')).toBeCloseTo(0.1, 1)
    expect(share((n) => commandFault(rates, 9, n) === 'answers twice')).toBeCloseTo(0.18, 1)
    expect(share((n) => commandFault(noFaults, 9, n) !== 'none')).toBe(0)
  })

  it('repeat with the same seed, and differ with another one', () => {
    const rates = { ...noFaults, failure: 0.5, latencyMs: 100 }
    const run = (seed: number) => Array.from({ length: 50 }, (_, n) => messageFaults(rates, seed, n))
    expect(run(1)).toEqual(run(1))
    expect(run(1)).not.toEqual(run(2))
  })

  it('delay messages by the mean that was asked for', () => {
    const rates = { ...noFaults, latencyMs: 200 }
    const total = Array.from({ length: count }, (_, n) => messageFaults(rates, 4, n).latencyMs).reduce(
      (sum, one) => sum + one,
    )
    expect(Math.abs(total / count - 200)).toBeLessThan(10)
  })

  it('make clocks that started in 1970, that are years ahead, and that are days behind', () => {
    const at = Date.parse('2026-06-01T00:00:00Z')
    const errors = Array.from({ length: 300 }, (_, seed) =>
      clockError({ ...noFaults, wrongClock: 1 }, seed, at),
    )
    expect(errors.filter((error) => error === -at).length).toBeGreaterThan(50)
    expect(errors.filter((error) => error > 300_000 * 1000).length).toBeGreaterThan(50)
    expect(errors.filter((error) => error < 0 && error >= -48 * 3_600_000).length).toBeGreaterThan(50)
    expect(errors).not.toContain(0)
  })
})
