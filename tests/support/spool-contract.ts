/** The contract of the spool: deliveries are durable when they are put, and come back exactly, in any order. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Delivery } from '../../lib/telemetry/delivery.ts'
import type { Spool } from '../../lib/telemetry/spool.ts'
import type { WriteEntry } from '../../lib/telemetry/store.ts'
import { readingAt } from './intake-contract.ts'

export interface OpenedSpool {
  readonly spool: Spool
  /** Takes everything out of the spool. */
  take(): Promise<WriteEntry[]>
  end(): Promise<void>
}

export function spoolContract(name: string, open: () => Promise<OpenedSpool>): void {
  describe(`spool contract: ${name}`, () => {
    let opened: OpenedSpool
    beforeAll(async () => {
      opened = await open()
    })
    afterAll(() => opened?.end())

    const delivery = (deviceId: number, values: readonly (number | string)[]): Delivery => ({
      deviceId,
      deviceType: 'sensor',
      location: null,
      receivedAt: 1_760_000_000_000,
      readings: values.map((value, at) => ({ ...readingAt(at, 0), fields: { value } })),
      rejected: 0,
    })
    const taken = async () => {
      const entries = await opened.take()
      return entries
        .flatMap(({ deviceId, readings }) => readings.map(({ fields }) => `${deviceId}: ${fields.value}`))
        .sort()
    }

    it('keeps a batch and gives it back, and is empty then', async () => {
      const outcomes = await opened.spool.put([delivery(1, [1, 2]), delivery(2, [3])])
      expect(outcomes).toEqual([
        { stored: 0, queued: 2, duplicates: 0 },
        { stored: 0, queued: 1, duplicates: 0 },
      ])
      expect((await opened.spool.state()).depth).toBeGreaterThan(0)
      expect(await taken()).toEqual(['1: 1', '1: 2', '2: 3'])
      expect((await opened.spool.state()).depth).toBe(0)
      expect(await taken()).toEqual([])
    })

    it('keeps tags, large times, metadata and every type exactly', async () => {
      const sent: Delivery = {
        ...delivery(3, []),
        location: 'Lab "1"',
        deviceType: 'pump',
        readings: [
          {
            time: 1_760_000_000_123_456_789n,
            fields: { n: 0.1, s: 'ä"\n\t\u{1f600}', b: false },
            metadata: { a: 'b' },
          },
          readingAt(1, 2),
        ],
      }
      await opened.spool.put([sent])
      const { rejected: _, ...entry } = sent
      expect(await opened.take()).toEqual([expect.objectContaining(entry)])
    })

    it('loses nothing of a large message', async () => {
      const values = Array.from({ length: 300 }, (_, at) => `${at}:${'x'.repeat(3000)}`)
      await opened.spool.put([delivery(4, values)])
      expect(await taken()).toEqual(values.map((value) => `4: ${value}`).sort())
    })

    it('accepts deliveries', async () => {
      expect(await opened.spool.accepts()).toBe(true)
    })
  })
}
