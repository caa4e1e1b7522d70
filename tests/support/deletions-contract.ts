/** What large deletions keep to, on a file and on a libSQL server. */
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { mostAtOnce } from '../../lib/telemetry/embedded/deletions.ts'
import type { Embedded } from '../../lib/telemetry/embedded/open.ts'
import type { FieldValue, Reading } from '../../lib/telemetry/reading.ts'
import { allTime } from '../../lib/telemetry/store.ts'
import { writeEntry } from './write-entry.ts'

const now = Date.parse('2026-03-01T12:00:00Z')
const enough = () => performance.now() + 60_000

interface Options {
  readonly removalSlice?: number
  readonly now: () => number
}

/** @param open an empty database. */
export function deletionsContract(
  name: string,
  open: (
    options: Options,
  ) => Promise<Pick<Embedded, 'store' | 'ledger' | 'deletions'> & { end(): Promise<void> }>,
): void {
  describe(`deletions contract: ${name}`, () => {
    let embedded: Awaited<ReturnType<typeof open>>
    let clock = now
    beforeEach(async () => {
      clock = now
      embedded = await open({ removalSlice: 3, now: () => clock })
    })
    afterEach(() => embedded.end())

    const write = (deviceId: number, readings: readonly (readonly [bigint, Reading['fields']])[]) =>
      writeEntry(embedded.store, {
        deviceId,
        deviceType: 'sensor',
        location: null,
        receivedAt: now,
        readings: readings.map(([time, fields]) => ({ time, fields, metadata: undefined })),
      })
    const times = async (deviceId: number) =>
      (
        await embedded.store.history({ deviceId, ...allTime, fields: undefined, limit: 10_000, order: 'asc' })
      ).map(({ time }) => Number(time))
    const fill = (deviceId: number, count: number) =>
      write(
        deviceId,
        Array.from({ length: count }, (_, n) => [BigInt(n), { a: n }] as const),
      )
    const oneSlice = (id: number) => embedded.deletions.next(id)

    it('goes on slice by slice, oldest readings first, and counts exactly', async () => {
      await fill(1, 10)
      await fill(2, 10)
      const { deletions, store } = embedded
      const id = await deletions.create(1, { from: 1n, to: 9n })
      expect(await deletions.find(id)).toMatchObject({ deleted: 0, first: 1n, last: 8n, finishedAt: null })
      expect(await oneSlice(id)).toMatchObject({ deleted: 3, reached: 4n, finishedAt: null })
      expect(await times(1)).toEqual([0, 4, 5, 6, 7, 8, 9])
      expect(await deletions.advance(id, enough())).toMatchObject({ deleted: 8, finishedAt: now })
      expect(await times(1)).toEqual([0, 9])
      expect(await store.count(2)).toBe(10)
      // Once it is finished, it deletes nothing more.
      await write(1, [[5n, { a: 5 }]])
      await deletions.advance(id, enough())
      expect(await deletions.run(enough())).toEqual([])
      expect(await times(1)).toEqual([0, 5, 9])
    })

    it('takes readings of its range that come meanwhile, and leaves the others', async () => {
      await fill(1, 10)
      const { deletions } = embedded
      const id = await deletions.create(1, { from: 0n, to: 8n })
      await oneSlice(id)
      await write(1, [
        [1n, { late: true }],
        [20n, { a: 20 }],
      ])
      expect(await deletions.run(enough())).toMatchObject([{ id, deleted: 9 }])
      expect(await times(1)).toEqual([8, 9, 20])
    })

    it('is the same deletion when it is asked for again, until it is finished', async () => {
      await fill(1, 10)
      const { deletions } = embedded
      const range = { from: 0n, to: 8n }
      const [one, again] = [await deletions.create(1, range), await deletions.create(1, range)]
      expect(again).toBe(one)
      const other = await deletions.create(1, { from: 0n, to: 9n })
      expect(other).not.toBe(one)
      await deletions.run(enough())
      const next = await deletions.create(1, range)
      expect(next).toBeGreaterThan(other)
      expect((await deletions.list({ limit: 10 })).map(({ id }) => id)).toEqual([next, other, one])
      expect((await deletions.list({ limit: 1, before: other })).map(({ id }) => id)).toEqual([one])
    })

    it('of everything waits for writes that have begun', async () => {
      await fill(1, 4)
      const { deletions } = embedded
      const id = await deletions.create(1, allTime)
      expect(await deletions.advance(id, enough())).toMatchObject({ deleted: 4, finishedAt: null })
      await write(1, [[7n, { a: 7 }]])
      clock = now + 15_000
      expect(await deletions.advance(id, enough())).toMatchObject({ deleted: 5, finishedAt: clock })
      expect(await times(1)).toEqual([])
      clock += 30 * 86_400_000
      await deletions.prune()
      expect(await deletions.find(id)).toBeDefined()
      clock += 1
      await deletions.prune()
      expect(await deletions.find(id)).toBeUndefined()
    })

    it('of everything does not wait for a clock that was ahead when it was asked for', async () => {
      await fill(1, 4)
      const id = await embedded.deletions.create(1, allTime)
      clock = now - 86_400_000
      expect(await embedded.deletions.advance(id, enough())).toMatchObject({ deleted: 4, finishedAt: clock })
    })

    it('is large beyond what one transaction deletes, and leaves the account as it is', async () => {
      const { deletions, ledger } = embedded
      for (let from = 0; from < mostAtOnce; from += 5000)
        await write(
          1,
          Array.from({ length: 5000 }, (_, n) => [BigInt(from + n), { a: n }] as const),
        )
      expect(await deletions.isLarge(1, allTime)).toBe(false)
      await write(1, [[BigInt(mostAtOnce), { a: 1 }]])
      expect(await deletions.isLarge(1, allTime)).toBe(true)
      expect(await deletions.isLarge(1, { from: 0n, to: BigInt(mostAtOnce) })).toBe(false)
      await ledger.count({ deviceId: 1, received: 7, stored: 7 })
      const id = await deletions.create(1, { from: 0n, to: 9n })
      await deletions.advance(id, enough())
      expect(await ledger.account(1)).toMatchObject({ received: 7, stored: 7 })
    })

    it('finds the newest value of a rare field again, also behind thousands of readings', async () => {
      await write(1, [[1n, { rare: 'old', a: 1 }]])
      await write(
        1,
        Array.from({ length: 3000 }, (_, n) => [BigInt(n + 2), { a: n }] as const),
      )
      await write(1, [[5000n, { rare: 'new', gone: true }]])
      await embedded.store.remove(1, { from: 4000n, to: 6000n })
      expect(await embedded.store.latest(1, allTime.to)).toEqual({
        time: 3001n,
        fields: { a: 2999, rare: 'old' },
      })
    })

    it('keeps the newest value of every field right after each slice', async () => {
      let deviceId = 0
      const fields = fc.dictionary(fc.constantFrom('a', 'b', 'c'), fc.integer({ min: 0, max: 9 }), {
        minKeys: 1,
      })
      const history = fc.uniqueArray(fc.tuple(fc.integer({ min: 0, max: 30 }), fields), {
        selector: ([time]) => time,
        minLength: 1,
        maxLength: 20,
      })
      const range = fc.tuple(fc.integer({ min: 0, max: 30 }), fc.integer({ min: 1, max: 31 }))
      await fc.assert(
        fc.asyncProperty(history, range, fc.boolean(), async (readings, [one, other], atOnce) => {
          deviceId += 1
          const { store, deletions } = embedded
          const [from, to] = [BigInt(Math.min(one, other)), BigInt(Math.max(one, other))]
          // One by one, in any order: late readings also change the table of the newest values.
          for (const [time, values] of readings) await write(deviceId, [[BigInt(time), values]])
          const expectNewest = async () => {
            const left = await store.history({
              deviceId,
              ...allTime,
              fields: undefined,
              limit: 100,
              order: 'asc',
            })
            const newest: Record<string, FieldValue> = {}
            for (const reading of left) Object.assign(newest, reading.fields)
            const found = await store.latest(deviceId, allTime.to)
            expect(found?.fields ?? {}).toEqual(newest)
            expect(found?.time).toEqual(left.at(-1)?.time)
          }
          if (atOnce) await store.remove(deviceId, { from, to })
          else {
            const id = await deletions.create(deviceId, { from, to })
            while ((await oneSlice(id))?.finishedAt === null) await expectNewest()
          }
          await expectNewest()
          expect((await times(deviceId)).filter((time) => time >= from && time < to)).toEqual([])
        }),
        { numRuns: 40 },
      )
    }, 120_000)
  })
}
