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

const parallel: Batching = { batchesAhead: 2, inAnyOrder: true }

it('writes a batch beside another one, but a device has one message after the other under way', async () => {
  const { begun, settled, add, turn, end } = open(parallel)
  add(1, 2)
  await turn()
  add(1, 3, 1)
  await turn()
  expect(begun).toEqual([['1:1', '2:2'], ['3:4']])
  add(4)
  await turn()
  expect(begun).toHaveLength(2)
  await end('3:4')
  expect(begun.slice(2)).toEqual([['4:6']])
  await end('1:1')
  expect(begun.slice(3)).toEqual([['1:3', '1:5']])
  await end('4:6')
  await end('1:3')
  expect(settled).toEqual(Array(6).fill(outcome))
})

it('writes one batch after the other where it may not mix them', async () => {
  const { begun, add, turn, end } = open({ batchesAhead: 1, inAnyOrder: false })
  add(1)
  await turn()
  add(2, 1)
  await turn()
  expect(begun).toEqual([['1:1']])
  await end('1:1')
  expect(begun).toEqual([['1:1'], ['2:2', '1:3']])
})

it('gathers a batch that may be in any order while each turn of the event loop brings more', async () => {
  const { begun, add, immediate, turn } = open(parallel)
  add(1, 2)
  await immediate()
  add(3)
  await immediate()
  expect(begun).toEqual([])
  await turn()
  expect(begun).toEqual([['1:1', '2:2', '3:3']])
})

describe('with a clock of its own', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['performance'] }))
  afterEach(() => void vi.useRealTimers())

  it('hands a gathering batch over after 2 ms, however many more come', async () => {
    const { begun, add, immediate } = open(parallel)
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

  it('does not gather beside many, nor when many wait', async () => {
    const { begun, add, immediate, turn, end } = open(parallel)
    for (let n = 0; n < 3; n += 1) {
      add(...Array.from({ length: 100 }, (_, device) => 100 * n + device))
      await immediate()
    }
    expect(begun[0]).toHaveLength(300)
    add(...Array.from({ length: 400 }, (_, device) => 1000 + device))
    await turn()
    expect(begun).toHaveLength(1)
    await end('0:1')
    expect(begun[1]).toHaveLength(400)
    // Of few that wait after a batch, the next one gathers again.
    add(2000)
    await end('1000:301')
    expect(begun[2]).toEqual(['2000:701'])
  })
})

it('hands batches over ahead of the answers, full ones before the turn of the event loop is over', async () => {
  const { begun, add, turn, end } = open({ batchesAhead: 2, inAnyOrder: false })
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

it.each([
  [parallel, [5, 3]],
  [{ batchesAhead: 1, inAnyOrder: false }, [3, 3, 2]],
] as const)('ends a batch with the message that makes it too long: %o', async (batching, expected) => {
  const lengths: number[] = []
  const queue = new BatchQueue(
    async (batch) => {
      lengths.push(batch.length)
      return batch.map(() => outcome)
    },
    batching,
    { readings: 20_000, characters: 1e9 },
  )
  const fields = { text: 'x'.repeat(400_000) }
  for (let n = 0; n < 8; n += 1)
    queue.add(
      { ...deliveryOf(n, n), readings: [{ ...readingAt(n, 0), fields }] },
      'http',
      true,
      () => undefined,
    )
  await queue.close()
  expect(lengths).toEqual(expected)
})

it('refuses what is too much, and writes the rest before it ends', async () => {
  const { queue, begun, settled, add, end } = open(parallel, { readings: 2, characters: 1e9 })
  add(1, 1, 1)
  expect(settled).toMatchObject([{ code: 'UNAVAILABLE' }])
  const closed = queue.close()
  add(2)
  expect(settled).toMatchObject([{ code: 'UNAVAILABLE' }, { code: 'UNAVAILABLE' }])
  await eventually(() => expect(begun).toHaveLength(1))
  await end('1:1')
  await closed
  expect(settled.slice(2)).toEqual([outcome, outcome])
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
  const devicesUnderWay: number[] = []
  const written: Delivery[] = []
  const underWay: ((fails: boolean) => void)[] = []
  const queue = new BatchQueue(
    (batch) => {
      const devices = [...new Set(batch.map(({ delivery }) => delivery.deviceId))]
      for (const device of devices) expect(devicesUnderWay).not.toContain(device)
      devicesUnderWay.push(...devices)
      written.push(...batch.map(({ delivery }) => delivery))
      return new Promise((resolve, reject) => {
        underWay.push((fails) => {
          for (const device of devices) devicesUnderWay.splice(devicesUnderWay.indexOf(device), 1)
          if (fails) reject(new Error('The batch cannot be written.'))
          else resolve(batch.map(() => outcome))
        })
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
  return { added, settled, written }
}

it.each([parallel, { batchesAhead: 3, inAnyOrder: true }])(
  'settles each message once, and writes those of a device in their order, however batches end: %o',
  async (batching) => {
    await fc.assert(
      fc.asyncProperty(steps, async (all) => {
        const { added, settled, written } = await play(all, batching)
        expect(settled.sort((a, b) => a - b)).toEqual(Array.from({ length: added }, (_, n) => n))
        const newest = new Map<number, number>()
        for (const { deviceId, receivedAt } of written) {
          expect(receivedAt).toBeGreaterThan(newest.get(deviceId) ?? 0)
          newest.set(deviceId, receivedAt)
        }
      }),
    )
  },
)
