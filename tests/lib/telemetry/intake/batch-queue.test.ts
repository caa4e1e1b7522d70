import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { AppError } from '../../../../lib/errors.ts'
import type { Delivery, Outcome } from '../../../../lib/telemetry/delivery.ts'
import { type Batching, BatchQueue } from '../../../../lib/telemetry/intake/batch-queue.ts'
import { readingAt } from '../../../support/intake-contract.ts'
import { eventually } from '../../../support/waiting.ts'

const outcome: Outcome = { stored: 1, queued: 0, duplicates: 0 }

const deliveryOf = (deviceId: number, n: number): Delivery => ({
  ...{ deviceId, deviceType: 'sensor', location: null, receivedAt: 1_760_000_000_000 + n, rejected: 0 },
  readings: [readingAt(n, 0)],
})

/** A queue whose batches are under way until they are ended, as lists of `device:number`. */
const open = (batching: Batching, most = { readings: 20_000, characters: 1e9 }) => {
  const underWay = new Map<string, () => void>()
  const begun: string[][] = []
  const settled: (Outcome | AppError)[] = []
  let added = 0
  const queue = new BatchQueue(
    (batch) =>
      new Promise((resolve) => {
        const names = batch.map(({ delivery }) => `${delivery.deviceId}:${delivery.receivedAt % 1000}`)
        begun.push(names)
        underWay.set(names[0] ?? '', () => resolve(batch.map(() => outcome)))
      }),
    batching,
    most,
  )
  const add = (...devices: number[]) => {
    for (const device of devices)
      queue.add(deliveryOf(device, ++added), 'http', true, (one) => void settled.push(one))
  }
  const immediate = () => new Promise((resolve) => setImmediate(resolve))
  /** Long enough for a batch to gather of which no more comes. */
  const turn = async () => {
    for (let n = 0; n < 3; n += 1) await immediate()
  }
  const end = async (first: string) => {
    underWay.get(first)?.()
    underWay.delete(first)
    await turn()
  }
  return { queue, begun, settled, add, immediate, turn, end }
}

const elsewhere: Batching = { batchesAhead: 1, isElsewhere: true }

it('writes a lone message at once', async () => {
  const { begun, add, turn } = open(elsewhere)
  add(1)
  await turn()
  expect(begun).toEqual([['1:1']])
})

it('gathers a batch for another server while each turn of the event loop brings more', async () => {
  const { begun, add, immediate, turn, end } = open(elsewhere)
  add(1, 2)
  await turn()
  add(1)
  await turn()
  expect(begun).toEqual([['1:1', '2:2']])
  await end('1:1')
  expect(begun).toEqual([['1:1', '2:2'], ['1:3']])
  for (let n = 0; n < 3; n += 1) {
    add(3)
    await immediate()
  }
  await end('1:3')
  expect(begun.slice(2)).toEqual([['3:4', '3:5', '3:6']])
})

describe('with a clock of its own', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['performance'] }))
  afterEach(() => void vi.useRealTimers())

  it('hands a gathering batch over after 2 ms, however many more come', async () => {
    const { begun, add, immediate } = open(elsewhere)
    for (let n = 0; n < 5; n += 1) {
      add(n)
      await immediate()
    }
    expect(begun).toEqual([])
    vi.advanceTimersByTime(2)
    add(5)
    await immediate()
    expect(begun).toEqual([['0:1', '1:2', '2:3', '3:4', '4:5', '5:6']])
  })

  it('does not gather when many wait', async () => {
    const { begun, add, immediate } = open(elsewhere)
    for (let n = 0; n < 5; n += 1) {
      add(...Array.from({ length: 100 }, (_, device) => device))
      await immediate()
    }
    expect(begun[0]).toHaveLength(300)
  })
})

it('writes one batch after the other where the store is here', async () => {
  const { begun, add, turn, end } = open({ batchesAhead: 1, isElsewhere: false })
  add(1)
  await turn()
  add(2, 1)
  await turn()
  expect(begun).toEqual([['1:1']])
  await end('1:1')
  expect(begun).toEqual([['1:1'], ['2:2', '1:3']])
})

it('hands over batches ahead of the answers, the full ones before the turn of the event loop is over', async () => {
  const { begun, add, turn, end } = open({ batchesAhead: 2, isElsewhere: false })
  add(1000, ...Array.from({ length: 531 }, (_, n) => n))
  expect(begun.map(({ length }) => length)).toEqual([32, 32])
  await end('1000:1')
  expect(begun[2]).toHaveLength(468)
  add(2000)
  await turn()
  expect(begun).toHaveLength(3)
  await end(begun[2]?.[0] ?? '')
  expect(begun[3]).toEqual(['2000:533'])
})

it('refuses what is too much, and writes the rest before it ends', async () => {
  const { queue, begun, settled, add, turn, end } = open(elsewhere, { readings: 3, characters: 1e9 })
  add(1)
  await turn()
  add(1, 2, 1)
  expect(settled).toMatchObject([{ code: 'UNAVAILABLE' }])
  const closed = queue.close()
  add(2)
  expect(settled).toMatchObject([{ code: 'UNAVAILABLE' }, { code: 'UNAVAILABLE' }])
  await end('1:1')
  await eventually(() => expect(begun).toHaveLength(2))
  await end('1:2')
  await closed
  expect(settled.slice(2)).toEqual([outcome, outcome, outcome])
})

type Step = { readonly add: number } | { readonly end: number; readonly fails: boolean } | 'turn'

const steps = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ add: fc.nat(5) }) },
    { weight: 2, arbitrary: fc.record({ end: fc.nat(1), fails: fc.boolean() }) },
    { weight: 1, arbitrary: fc.constant('turn' as const) },
  ),
  { minLength: 1, maxLength: 300 },
)

/** Plays the steps, then closes the queue and ends what is under way. */
const play = async (all: readonly Step[], batching: Batching) => {
  const written: Delivery[] = []
  const underWay: ((fails: boolean) => void)[] = []
  let most = 0
  const queue = new BatchQueue(
    (batch) => {
      written.push(...batch.map(({ delivery }) => delivery))
      return new Promise((resolve, reject) => {
        const length = underWay.push((fails) => {
          if (fails) reject(new Error('The batch cannot be written.'))
          else resolve(batch.map(() => outcome))
        })
        most = Math.max(most, length)
      })
    },
    batching,
    { readings: 150, characters: 1e9 },
  )
  const turn = () => new Promise((resolve) => setImmediate(resolve))
  const settled: number[] = []
  let added = 0
  for (const step of all) {
    if (step === 'turn') await turn()
    else if ('end' in step) underWay.splice(step.end, 1)[0]?.(step.fails)
    else {
      const n = added++
      queue.add(deliveryOf(step.add, n), 'http', true, () => void settled.push(n))
    }
  }
  const closed = queue.close().then(() => 'closed')
  while ((await Promise.race([closed, turn()])) !== 'closed') underWay.shift()?.(false)
  return { added, settled, written, most }
}

it.each([elsewhere, { batchesAhead: 3, isElsewhere: false }])(
  'settles each message once, and hands them over in their order, however batches end: %o',
  async (batching) => {
    await fc.assert(
      fc.asyncProperty(steps, async (all) => {
        const { added, settled, written, most } = await play(all, batching)
        expect(settled.sort((a, b) => a - b)).toEqual(Array.from({ length: added }, (_, n) => n))
        const arrivals = written.map(({ receivedAt }) => receivedAt)
        expect(arrivals).toEqual([...arrivals].sort((a, b) => a - b))
        expect(most).toBeLessThanOrEqual(batching.batchesAhead)
      }),
    )
  },
)
