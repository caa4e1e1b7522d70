import { expect, it } from 'vitest'
import { MinuteCounts } from '../../../lib/dashboard/minute-counts.ts'
import type { Outcome } from '../../../lib/telemetry/delivery.ts'
import { unavailable } from '../../../lib/telemetry/unavailable.ts'

const noon = Date.parse('2026-03-01T12:00:30Z')

const batchOf = (readings: number, rejected = 0) => ({
  delivery: {
    deviceId: 1,
    deviceType: 'a',
    location: null,
    receivedAt: 0,
    readings: Array.from({ length: readings }, (_, n) => ({
      time: BigInt(n),
      fields: { t: 1 },
      metadata: undefined,
    })),
    rejected,
  },
  door: 'http' as const,
  since: 0,
})
const outcome = (stored: number, queued = 0, duplicates = 0): Outcome => ({ stored, queued, duplicates })

it('counts readings by what became of them, and none that comes again', () => {
  const counts = new MinuteCounts(() => noon)
  counts.batchEnded(
    [batchOf(3, 1), batchOf(2), batchOf(2), batchOf(5), batchOf(0, 1)],
    [outcome(2, 0, 1), outcome(0, 2), outcome(1), unavailable(), outcome(0)],
  )
  // One reading of the third message was refused by the store.
  expect(counts.list().at(-1)).toEqual({
    at: Date.parse('2026-03-01T12:00:00Z'),
    stored: 3,
    spooled: 2,
    rejected: 3,
  })
})

it('has the last 60 minutes, the oldest first, and forgets older ones', () => {
  let now = noon
  const counts = new MinuteCounts(() => now)
  counts.batchEnded([batchOf(1)], [outcome(1)])
  now += 59 * 60_000
  counts.batchEnded([batchOf(2)], [outcome(2)])
  const stored = counts.list().map((minute) => minute.stored)
  expect(stored).toEqual([1, ...Array(58).fill(0), 2])
  now += 60_000
  expect(counts.list().map((minute) => minute.stored)).toEqual([...Array(58).fill(0), 2, 0])
  now += 3_600_000
  expect(counts.list().every((minute) => minute.stored === 0)).toBe(true)
  expect(counts.list()[0]?.at).toBe(Math.floor(now / 60_000) * 60_000 - 59 * 60_000)
})
