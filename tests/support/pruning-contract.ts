/** What the deletion of old readings and keys keeps to, on a file and on a libSQL server. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Embedded } from '../../lib/telemetry/embedded/open.ts'
import type { Reading } from '../../lib/telemetry/reading.ts'
import { allTime } from '../../lib/telemetry/store.ts'
import { writeEntry } from './write-entry.ts'

const hourMs = 3_600_000
const now = Date.parse('2026-03-01T12:00:00Z')
const enough = () => performance.now() + 60_000
const ns = (ms: number) => BigInt(ms) * 1_000_000n

/** @param open an empty database that keeps readings for an hour, by the clock of `now`. */
export function pruningContract(
  name: string,
  open: (options: {
    retentionMs: number
    now: () => number
  }) => Promise<Pick<Embedded, 'store' | 'writer' | 'pruning'> & { end(): Promise<void> }>,
): void {
  describe(`retention contract: ${name}`, () => {
    let embedded: Awaited<ReturnType<typeof open>>
    let clock = now
    beforeEach(async () => {
      clock = now
      embedded = await open({ retentionMs: hourMs, now: () => clock })
    })
    afterEach(() => embedded.end())

    const readingsFrom = (from: bigint, count: number, fields: Reading['fields'] = { a: 1 }) =>
      Array.from({ length: count }, (_, n) => ({ time: from + BigInt(n), fields, metadata: undefined }))
    const write = (deviceId: number, readings: readonly Reading[]) =>
      writeEntry(embedded.store, {
        deviceId,
        deviceType: 'sensor',
        location: null,
        receivedAt: now,
        readings,
      })

    it('deletes what is older than the retention, also of more devices and readings than one slice has', async () => {
      const { store, pruning } = embedded
      const old = ns(now - 2 * hourMs)
      await write(1, readingsFrom(old, 7000))
      const devices = Array.from({ length: 2100 }, (_, n) => n + 2)
      await store.write(
        devices.map((deviceId) => ({
          deviceId,
          deviceType: 'sensor',
          location: null,
          receivedAt: now,
          readings: readingsFrom(old, 1),
        })),
      )
      await write(1, readingsFrom(ns(now), 1, { b: 1 }))
      await write(2101, readingsFrom(ns(now), 1))
      // A query brings the readings of the journal into the tables; the next run would find them as well.
      expect(await store.devices()).toHaveLength(2101)
      expect(await pruning.run(enough())).toBe(true)
      expect(await store.devices()).toEqual([1, 2101])
      expect(await store.count(1)).toBe(1)
      // The value of a field whose readings are gone is gone, too.
      expect(await store.latest(1, allTime.to)).toEqual({ time: ns(now), fields: { b: 1 } })
    })

    it('leaves readings of exactly the retention, and what it cannot reach in its time to the next run', async () => {
      const { store, pruning } = embedded
      await write(1, readingsFrom(ns(now - hourMs) - 1n, 2))
      expect(await store.count(1)).toBe(2)
      expect(await pruning.run(performance.now())).toBe(false)
      expect(await store.count(1)).toBe(2)
      expect(await pruning.run(enough())).toBe(true)
      expect(await store.count(1)).toBe(1)
    })

    it('forgets keys after 24 hours', async () => {
      const { writer, store, pruning } = embedded
      const send = async () => {
        const [outcome] = await writer.deliver([
          {
            deviceId: 1,
            deviceType: 'sensor',
            location: null,
            receivedAt: clock,
            readings: readingsFrom(ns(clock), 1),
            keys: ['m:one'],
            rejected: 0,
          },
        ])
        return outcome
      }
      expect(await send()).toMatchObject({ stored: 1, duplicates: 0 })
      clock = now + 24 * hourMs
      await pruning.run(enough())
      expect(await send()).toMatchObject({ stored: 0, duplicates: 1 })
      clock += 1
      await pruning.run(enough())
      expect(await send()).toMatchObject({ stored: 1, duplicates: 0 })
      expect(await store.count(1)).toBe(1)
    })
  })
}
