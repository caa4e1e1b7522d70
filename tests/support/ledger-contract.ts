/** The contract of the ledger, wherever its database is: accounts, keys of readings, and deleted ranges. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Delivery } from '../../lib/telemetry/delivery.ts'
import type { Ledger, RecordedDelivery } from '../../lib/telemetry/embedded/ledger.ts'
import { keyOfMessageId } from '../../lib/telemetry/reading-keys.ts'
import { readingAt } from './intake-contract.ts'

export function ledgerContract(
  name: string,
  open: () => Promise<{ ledger: Ledger; end(): Promise<void> }>,
): void {
  describe(`ledger contract: ${name}`, () => {
    let ledger: Ledger
    let end: (() => Promise<void>) | undefined
    let deviceId = 500
    beforeAll(async () => {
      ;({ ledger, end } = await open())
    })
    afterAll(() => end?.())

    const newDevice = () => {
      deviceId += 1
      return deviceId
    }
    const receivedAt = 1_760_000_000_000
    const delivery = (seconds: readonly number[], keys?: readonly (string | undefined)[]): Delivery => ({
      deviceId,
      deviceType: 'sensor',
      location: null,
      receivedAt,
      readings: seconds.map((second) => readingAt(second, second)),
      keys,
      rejected: 0,
    })
    const recorded = (more: Partial<RecordedDelivery> = {}): RecordedDelivery => ({
      deviceId,
      receivedAt,
      rejected: 0,
      duplicates: 0,
      warned: 0,
      stored: 0,
      refusedKeys: [],
      ...more,
    })
    const times = (...seconds: number[]) => seconds.map((second) => readingAt(second, 0).time)

    const timesOf = async (batch: readonly Delivery[]) =>
      (await ledger.reserve(batch)).map(({ times }) => times)

    const idKey = (id: string, value: number) => keyOfMessageId(id, readingAt(0, value), false)

    it('counts a batch, device by device', async () => {
      const [one, other] = [newDevice(), newDevice()]
      await ledger.record([
        recorded({ deviceId: one, stored: 2, rejected: 1 }),
        recorded({ deviceId: other, duplicates: 2, receivedAt: receivedAt + 5 }),
        recorded({ deviceId: one, stored: 1 }),
      ])
      expect(await ledger.account(one)).toEqual({
        received: 4,
        stored: 3,
        spooled: 0,
        rejected: 1,
        duplicates: 0,
        warned: 0,
      })
      expect(await ledger.account(other)).toMatchObject({ received: 2, duplicates: 2 })
      expect(await ledger.lastArrival()).toBeGreaterThanOrEqual(receivedAt + 5)
      expect(await ledger.record([])).toEqual([])
    })

    it('moves between the parts of an account', async () => {
      newDevice()
      await ledger.record([recorded({ rejected: 2 })])
      await ledger.count({ deviceId, received: -1, rejected: -1 })
      expect(await ledger.account(deviceId)).toMatchObject({ received: 1, rejected: 1 })
      await ledger.count({ deviceId, rejected: -1, duplicates: 1 })
      expect(await ledger.account(deviceId)).toMatchObject({ received: 1, rejected: 0, duplicates: 1 })
    })

    it('reserves a key with the time of the first reading that asked for it', async () => {
      newDevice()
      const batch = [delivery([1, 2], ['a', undefined]), delivery([3], ['a'])]
      expect(await timesOf(batch)).toEqual([times(1, 2), times(1)])
      expect(await timesOf([delivery([4, 5], ['b', 'a'])])).toEqual([times(4, 1)])
    })

    it('knows a recorded key, of one device only', async () => {
      newDevice()
      await ledger.reserve([delivery([1], ['a'])])
      await ledger.record([recorded({ stored: 1, keys: ['a'], refusedKeys: ['bad'] })])
      expect(await timesOf([delivery([2, 3], ['a', 'bad'])])).toEqual([[undefined, undefined]])
      newDevice()
      expect(await timesOf([delivery([2], ['a'])])).toEqual([times(2)])
    })

    it('counts a key for the first process that records it', async () => {
      newDevice()
      const batch = [recorded({ stored: 2, keys: ['a', 'b'] })]
      await ledger.reserve([delivery([1, 2], ['a', 'b'])])
      expect(await ledger.record(batch)).toEqual([0])
      const second = [recorded({ stored: 1 }), recorded({ stored: 2, keys: ['b', 'c'] })]
      expect(await ledger.record(second)).toEqual([0, 1])
      expect(await ledger.account(deviceId)).toEqual({
        received: 5,
        stored: 4,
        spooled: 0,
        rejected: 0,
        duplicates: 1,
        warned: 0,
      })
    })

    it('takes keys with quotes, commas and brackets as they are', async () => {
      newDevice()
      const odd = '"],[1,"x\'; --\u{1f600}'
      await ledger.record([recorded({ stored: 1, keys: [odd] })])
      expect(await timesOf([delivery([1], [odd])])).toEqual([[undefined]])
    })

    it('counts readings with warnings, which are among the others', async () => {
      newDevice()
      await ledger.record([recorded({ stored: 1, warned: 1 })])
      await ledger.count({ deviceId, warned: 2 })
      expect(await ledger.account(deviceId)).toMatchObject({ received: 1, stored: 1, warned: 3 })
    })

    it('reserves the key of a message id beside that of another reading, and says so', async () => {
      newDevice()
      const [a, b] = [idKey('5', 1), idKey('5', 2)]
      const first = await ledger.reserve([delivery([1], [a]), delivery([1], [a])])
      expect(first.map(({ reused }) => reused)).toEqual([[], []])
      expect(await ledger.reserve([delivery([2, 3], [b, idKey('50', 1)])])).toEqual([
        { times: times(2, 3), reused: [0], conflict: false },
      ])
      await ledger.record([recorded({ stored: 2, keys: [a, b] })])
      expect(await ledger.reserve([delivery([1], [a])])).toEqual([
        { times: [undefined], reused: [], conflict: false },
      ])
    })

    it('finds an id that stands for two readings of one batch, at the later one', async () => {
      newDevice()
      const made = await ledger.reserve([delivery([1, 2], [idKey('5', 1), idKey('5', 2)])])
      expect(made.map(({ reused }) => reused)).toEqual([[1]])
      newDevice()
      const [other] = await ledger.reserve([delivery([1], [idKey('5', 9)])])
      expect(other?.reused).toEqual([])
    })

    it('knows the message ids that an earlier version noted without the content', async () => {
      newDevice()
      await ledger.record([recorded({ stored: 1, keys: ['m:5'] })])
      expect(await timesOf([delivery([1, 2], [idKey('5', 1), idKey('6', 1)])])).toEqual([
        [undefined, readingAt(2, 0).time],
      ])
    })

    it('refuses the key of a request that comes with another body, also while both come at once', async () => {
      newDevice()
      const request = (digest: string, second: number): Delivery => ({
        ...delivery([second], [`h:0:k`]),
        request: { key: 'k', digest },
      })
      const both = await ledger.reserve([request('one', 1), request('two', 2)])
      expect(both.map(({ conflict }) => conflict)).toEqual([false, true])
      await ledger.record([recorded({ stored: 1, keys: ['h:0:k'] })])
      expect((await ledger.reserve([request('two', 2)]))[0]?.conflict).toBe(true)
      expect(await ledger.reserve([request('one', 1)])).toEqual([
        { times: [undefined], reused: [], conflict: false },
      ])
    })

    it('remembers deleted ranges by the time of the deletion', async () => {
      newDevice()
      const before = Date.now()
      const range = { from: 5n, to: 2n ** 62n }
      await ledger.noteRemoved(deviceId, range)
      expect(await ledger.removedSince(deviceId, before)).toEqual([range])
      expect(await ledger.removedSince(deviceId, Date.now() + 60_000)).toEqual([])
      expect(await ledger.removedSince(newDevice(), before)).toEqual([])
      // Asked at once, as for the messages of one batch of a queue.
      const asked = [[deviceId - 1, before] as const, [deviceId, before] as const]
      expect(await Promise.all(asked.map(([id, at]) => ledger.removedSince(id, at)))).toEqual([[range], []])
    })
  })
}
