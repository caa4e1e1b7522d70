import { expect, it } from 'vitest'
import { createLog } from '../../../../lib/log.ts'
import type { Delivery, Outcome } from '../../../../lib/telemetry/delivery.ts'
import { Intake } from '../../../../lib/telemetry/intake/intake.ts'

it('refuses nothing of what the bridge has in progress', async () => {
  let release = () => {}
  const held = new Promise<void>((resolve) => {
    release = resolve
  })
  const writer = {
    ...{ batchesAhead: 2, inAnyOrder: true },
    async deliver(batch: readonly Delivery[]): Promise<Outcome[]> {
      await held
      return batch.map(({ readings }) => ({ stored: readings.length, queued: 0, duplicates: 0 }))
    },
  }
  const ledger = { count: async () => undefined, removedSince: async () => [] }
  const intake = new Intake({ writer, ledger, log: createLog('silent'), retentionMs: 0 })
  const sender = { id: 1, deviceType: 'sensor', location: null }
  const body = [1, 2, 3].map((n) => ({ timestamp: 1_760_000_000_000 + n, t: n }))
  const outcomes: unknown[] = []
  for (let n = 0; n < 10_000; n += 1) {
    const arrival = {
      receivedAt: 1_760_000_001_000,
      messageId: `m-${n}`,
      subtopic: undefined,
      door: 'bridge' as const,
    }
    expect(intake.take(sender, body, arrival, (failure) => outcomes.push(failure ?? 'stored'))).toBe(true)
  }
  release()
  await intake.close()
  expect(outcomes).toEqual(Array(10_000).fill('stored'))
})
