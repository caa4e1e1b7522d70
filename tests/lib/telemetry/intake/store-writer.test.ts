/** Batches into a store that keeps no accounts itself: keys, dead letters and the order of write and record. */
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { createLog } from '../../../../lib/log.ts'
import type { Delivery } from '../../../../lib/telemetry/delivery.ts'
import { openEmbedded } from '../../../../lib/telemetry/embedded/open.ts'
import { Intake } from '../../../../lib/telemetry/intake/intake.ts'
import { isolateRefused } from '../../../../lib/telemetry/intake/isolate-refused.ts'
import { type KeepDeadLetter, StoreWriter } from '../../../../lib/telemetry/intake/store-writer.ts'
import type { TelemetryStore, WriteEntry, WriteOutcome } from '../../../../lib/telemetry/store.ts'
import { allUnavailable, unavailable } from '../../../../lib/telemetry/unavailable.ts'
import { balance, intakeContract, readingAt } from '../../../support/intake-contract.ts'
import { temporaryFolder } from '../../../support/temporary.ts'

const log = createLog('silent')
const nothingIsRefused = () => Promise.reject(new Error('nothing is refused here'))

/** A ledger and a store in files of their own. */
const openTwo = async () => {
  const folder = await temporaryFolder()
  const open = (name: string) => openEmbedded({ at: { file: join(folder.path, name) }, log, retentionMs: 0 })
  const [first, second] = [await open('ledger.db'), await open('telemetry.db')]
  const end = async () => {
    await Promise.all([first.close(), second.close()])
    await folder.remove()
  }
  return { ledger: first.ledger, store: second.store, end }
}

intakeContract('into a store without accounts', async () => {
  const { ledger, store, end } = await openTwo()
  const writer = new StoreWriter({ ledger, store, keepDeadLetter: nothingIsRefused })
  return { intake: new Intake({ writer, ledger, retentionMs: 0, log }), ledger, store, end }
})

describe('a store that refuses some readings', () => {
  const make = async () => {
    const { ledger, end } = await openTwo()
    onTestFinished(end)
    const written: unknown[] = []
    const deadLetters: unknown[] = []
    const store = {
      isAvailable: true,
      /** Stores what is good and isolates what is not, as the store of InfluxDB does. */
      async write(batch: readonly WriteEntry[]): Promise<WriteOutcome[]> {
        if (!store.isAvailable) return allUnavailable(batch, undefined)
        const outcomes: WriteOutcome[] = []
        for (const { readings } of batch) {
          const refused = await isolateRefused(readings, async (some) => {
            const values = some.map(({ fields }) => fields.value)
            if (values.includes('bad')) return false
            written.push(...values)
            return true
          })
          outcomes.push({ refused })
        }
        return outcomes
      },
    }
    const keepDeadLetter: KeepDeadLetter = async ({ deviceId, readings }, reason) => {
      deadLetters.push([deviceId, readings.map(({ fields }) => fields.value), reason])
    }
    const writer = new StoreWriter({ ledger, store, keepDeadLetter })
    const intake = new Intake({ writer, ledger, retentionMs: 0, log })
    const take = (values: readonly (number | string)[], keys?: readonly string[]) =>
      intake.deliver({
        deviceId: 7,
        deviceType: 'sensor',
        location: null,
        receivedAt: 1_760_000_000_000,
        readings: values.map((value, at) => ({ ...readingAt(at, 0), fields: { value } })),
        keys,
        rejected: 1,
      })
    return { ledger, store, written, deadLetters, take }
  }

  it('gets the others; each refused reading is a dead letter of its own and counts as rejected', async () => {
    const { ledger, written, deadLetters, take } = await make()
    expect(await take([1, 'bad', 2, 'bad'])).toEqual({ stored: 2, queued: 0, duplicates: 0 })
    expect(written).toEqual([1, 2])
    const reason = 'The telemetry store refused the reading.'
    expect(deadLetters).toEqual([
      [7, ['bad'], reason],
      [7, ['bad'], reason],
    ])
    expect(await ledger.account(7)).toEqual({
      received: 5,
      stored: 2,
      spooled: 0,
      rejected: 3,
      duplicates: 0,
      warned: 0,
    })
  })

  it('makes no second dead letter when the same reading is sent again', async () => {
    const { ledger, deadLetters, take } = await make()
    await take(['bad', 1], ['a', 'b'])
    expect(await take(['bad', 1], ['a', 'b'])).toEqual({ stored: 0, queued: 0, duplicates: 2 })
    expect(deadLetters).toHaveLength(1)
    expect(balance(await ledger.account(7))).toBe(0)
  })

  it('leaves no dead letter and no count while the store is unavailable', async () => {
    const { ledger, store, deadLetters, take } = await make()
    store.isAvailable = false
    await expect(take(['bad', 1])).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    expect(deadLetters).toEqual([])
    expect((await ledger.account(7)).received).toBe(0)
  })
})

describe('a batch', () => {
  const delivery = (second: number, key?: string): Delivery => ({
    deviceId: 7,
    deviceType: 'sensor',
    location: null,
    receivedAt: 1_760_000_000_000,
    readings: [readingAt(second, second)],
    keys: key === undefined ? undefined : [key],
    rejected: 0,
  })
  const make = async () => {
    const { ledger, store, end } = await openTwo()
    onTestFinished(end)
    const calls: string[] = []
    const writer = new StoreWriter({
      store: {
        async write(batch) {
          calls.push(`write ${batch.length}`)
          return batch.map(({ readings }) =>
            readings.some(({ fields }) => fields.value === 13)
              ? { unavailable: unavailable() }
              : { refused: [] },
          )
        },
      },
      ledger: {
        async reserve(batch) {
          calls.push(`reserve ${batch.length}`)
          return ledger.reserve(batch)
        },
        async record(batch) {
          calls.push(`record ${batch.length}`)
          return ledger.record(batch)
        },
      },
      keepDeadLetter: nothingIsRefused,
    })
    return { ledger, store, writer, calls }
  }

  it('costs one write and one record, and a reservation only where there are keys', async () => {
    const { writer, calls } = await make()
    const outcomes = await writer.deliver([1, 2, 3].map((second) => delivery(second)))
    expect(outcomes).toEqual(Array(3).fill({ stored: 1, queued: 0, duplicates: 0 }))
    expect(calls).toEqual(['write 3', 'record 3'])
    calls.splice(0)
    await writer.deliver([delivery(4, 'a'), delivery(5)])
    expect(calls).toEqual(['reserve 2', 'write 2', 'record 2'])
  })

  it('stores the first of two deliveries with one key; both fail where the first cannot be stored', async () => {
    const { ledger, writer } = await make()
    expect(await writer.deliver([delivery(1, 'a'), delivery(2, 'a')])).toEqual([
      { stored: 1, queued: 0, duplicates: 0 },
      { stored: 0, queued: 0, duplicates: 1 },
    ])
    const failed = await writer.deliver([delivery(13, 'b'), delivery(14, 'b'), delivery(15)])
    expect(failed).toMatchObject([
      { error: { code: 'UNAVAILABLE' }, delivery: { readings: [{ time: readingAt(13, 0).time }] } },
      { error: { code: 'UNAVAILABLE' } },
      { stored: 1 },
    ])
    expect(await ledger.account(7)).toMatchObject({ received: 3, stored: 2, duplicates: 1 })
  })
})

describe('two containers at once', () => {
  const make = async () => {
    const { ledger, store, end } = await openTwo()
    onTestFinished(end)
    const container = (write: TelemetryStore['write'] = (batch) => store.write(batch)) => {
      const writer = new StoreWriter({ ledger, store: { write }, keepDeadLetter: nothingIsRefused })
      return new Intake({ writer, ledger, retentionMs: 0, log })
    }
    const delivery = (second: number, keys = ['same']): Delivery => ({
      deviceId: 7,
      deviceType: 'sensor',
      location: null,
      receivedAt: 1_760_000_000_000,
      readings: keys.map((_, at) => readingAt(second + at, second)),
      keys,
      rejected: 0,
    })
    return { ledger, store, container, delivery }
  }

  it('stores one reading with one key, and counts it once', async () => {
    const { ledger, store, container, delivery } = await make()
    let writing = 0
    let bothWrite = () => {}
    const both = new Promise<void>((resolve) => {
      bothWrite = resolve
    })
    const write = async (batch: readonly WriteEntry[]) => {
      writing += 1
      if (writing === 2) bothWrite()
      await both
      return store.write(batch)
    }
    const outcomes = await Promise.all([1, 2].map((n) => container(write).deliver(delivery(n))))
    expect(writing).toBe(2)
    expect(outcomes.map(({ stored }) => stored).sort()).toEqual([0, 1])
    expect(outcomes.map(({ duplicates }) => duplicates).sort()).toEqual([0, 1])
    expect(await store.count(7)).toBe(1)
    expect(await ledger.account(7)).toMatchObject({ received: 2, stored: 1, duplicates: 1 })
    expect(await container().deliver(delivery(3))).toMatchObject({ stored: 0, duplicates: 1 })
    expect(await store.count(7)).toBe(1)
  })

  it.each([
    ['before it has stored the reading', false],
    ['after it has stored the reading, and before it has counted it', true],
  ])('has it in the end when the first one dies %s', async (_, stores) => {
    const { ledger, store, container, delivery } = await make()
    const dying = container(async (batch) => {
      if (stores) await store.write(batch)
      throw unavailable()
    })
    await expect(dying.deliver(delivery(1))).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    expect((await ledger.account(7)).received).toBe(0)
    expect(await container().deliver(delivery(2, ['same', 'other']))).toMatchObject({
      stored: 2,
      duplicates: 0,
    })
    // Under the time of the first try: were that stored after all, it is the same point.
    expect(
      (await store.scan({ deviceId: 7, from: 0n, to: 2n ** 62n, limit: 9 })).map(({ time }) => time),
    ).toEqual([readingAt(1, 0).time, readingAt(3, 0).time])
    expect(await ledger.account(7)).toMatchObject({ received: 2, stored: 2, duplicates: 0 })
  })
})
