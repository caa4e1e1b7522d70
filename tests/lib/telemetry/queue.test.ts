import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { AppError } from '../../../lib/errors.ts'
import { createLog } from '../../../lib/log.ts'
import { createDirectIntake, openEmbeddedStore } from '../../../lib/telemetry/embedded.ts'
import type { Delivery, Intake } from '../../../lib/telemetry/intake.ts'
import {
  createPassingIntake,
  createQueue,
  createQueuedIntake,
  createRestoringIntake,
  decodeSpooled,
} from '../../../lib/telemetry/queue.ts'
import type { TelemetryStore, WriteEntry } from '../../../lib/telemetry/store.ts'
import { unavailable } from '../../../lib/telemetry/write-queue.ts'
import { describeWith } from '../../support/backends.ts'
import { balance, intakeContract, readingAt } from '../../support/intake-contract.ts'
import { findMoto, type Sqs, startSqs } from '../../support/sqs.ts'
import { temporaryFolder } from '../../support/temporary.ts'

const log = createLog('silent')

intakeContract('past the spool, into a store without accounts', async () => {
  const folder = await temporaryFolder()
  const open = (name: string) =>
    openEmbeddedStore({ at: { file: join(folder.path, name) }, log, retentionMs: 0 })
  const [ledger, store] = [await open('ledger.db'), await open('telemetry.db')]
  return {
    intake: createPassingIntake({
      ledger,
      store,
      bury: () => Promise.reject(new Error('nothing is refused here')),
    }),
    store,
    async end() {
      await Promise.all([ledger.close(), store.close()])
      await folder.remove()
    },
  }
})

describe('past the spool, into a store that refuses some readings', () => {
  const make = async () => {
    const folder = await temporaryFolder()
    const ledger = await openEmbeddedStore({
      at: { file: join(folder.path, 'ledger.db') },
      log,
      retentionMs: 0,
    })
    onTestFinished(async () => {
      await ledger.close()
      await folder.remove()
    })
    const written: unknown[] = []
    const buried: unknown[] = []
    const store = {
      away: false,
      async write({ readings }: WriteEntry) {
        const values = readings.map(({ fields }) => fields.value)
        if (store.away && values.length === 1) throw unavailable()
        if (values.includes('bad')) throw new AppError('VALIDATION_FAILED', 'No.')
        written.push(...values)
      },
    }
    const bury = async ({ deviceId, readings }: WriteEntry, reason: string) => {
      buried.push([deviceId, readings.map(({ fields }) => fields.value), reason])
    }
    const intake = createPassingIntake({ ledger, store, bury })
    const take = (values: readonly (number | string)[], keys?: readonly string[]) =>
      intake.take({
        deviceId: 7,
        deviceType: 'sensor',
        location: null,
        receivedAt: 1_760_000_000_000,
        readings: values.map((value, at) => ({ ...readingAt(at, 0), fields: { value } })),
        keys,
        rejected: 1,
      })
    return { intake, store, written, buried, take }
  }

  it('stores the others, buries each refused one alone and counts it as rejected', async () => {
    const { intake, written, buried, take } = await make()
    expect(await take([1, 'bad', 2, 'bad'])).toEqual({ stored: 2, queued: 0, duplicates: 0 })
    expect(written).toEqual([1, 2])
    const reason = 'The telemetry store refused the reading.'
    expect(buried).toEqual([
      [7, ['bad'], reason],
      [7, ['bad'], reason],
    ])
    expect(await intake.account(7)).toEqual({
      received: 5,
      stored: 2,
      spooled: 0,
      rejected: 3,
      duplicates: 0,
    })
  })

  it('does not bury the same again when it is sent again', async () => {
    const { intake, buried, take } = await make()
    await take(['bad', 1], ['a', 'b'])
    expect(await take(['bad', 1], ['a', 'b'])).toEqual({ stored: 0, queued: 0, duplicates: 2 })
    expect(buried).toHaveLength(1)
    expect(balance(await intake.account(7))).toBe(0)
  })

  it('buries and counts nothing while the store is away in between', async () => {
    const { intake, store, buried, take } = await make()
    store.away = true
    await expect(take(['bad', 1])).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    expect(buried).toEqual([])
    expect((await intake.account(7)).received).toBe(0)
  })
})

describe('past the spool, from two containers at once', () => {
  const make = async () => {
    const folder = await temporaryFolder()
    const open = (name: string) =>
      openEmbeddedStore({ at: { file: join(folder.path, name) }, log, retentionMs: 0 })
    const [ledger, store] = [await open('ledger.db'), await open('telemetry.db')]
    onTestFinished(async () => {
      await Promise.all([ledger.close(), store.close()])
      await folder.remove()
    })
    const bury = () => Promise.reject(new Error('nothing is refused here'))
    const container = (write: TelemetryStore['write'] = store.write) =>
      createPassingIntake({ ledger, store: { write }, bury })
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
    const write = async (entry: WriteEntry) => {
      writing += 1
      if (writing === 2) bothWrite()
      await both
      await store.write(entry)
    }
    const receipts = await Promise.all([1, 2].map((n) => container(write).take(delivery(n))))
    expect(writing).toBe(2)
    expect(receipts.map(({ stored }) => stored).sort()).toEqual([0, 1])
    expect(receipts.map(({ duplicates }) => duplicates).sort()).toEqual([0, 1])
    expect(await store.count(7)).toBe(1)
    expect(await ledger.account(7)).toMatchObject({ received: 2, stored: 1, duplicates: 1 })
    expect(await container().take(delivery(3))).toMatchObject({ stored: 0, duplicates: 1 })
    expect(await store.count(7)).toBe(1)
  })

  it.each([
    ['before it has stored the reading', false],
    ['after it has stored the reading, and before it has counted it', true],
  ])('has it in the end when the first one dies %s', async (_, stores) => {
    const { ledger, store, container, delivery } = await make()
    const dying = container(async (entry) => {
      if (stores) await store.write(entry)
      throw unavailable()
    })
    await expect(dying.take(delivery(1))).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    expect((await ledger.account(7)).received).toBe(0)
    expect(await container().take(delivery(2, ['same', 'other']))).toMatchObject({ stored: 2, duplicates: 0 })
    // Under the time of the first try: were that stored after all, it is the same point.
    expect(
      (await store.scan({ deviceId: 7, from: 0n, to: 2n ** 62n, limit: 9 })).map(({ time }) => time),
    ).toEqual([readingAt(1, 0).time, readingAt(3, 0).time])
    expect(await ledger.account(7)).toMatchObject({ received: 2, stored: 2, duplicates: 0 })
  })
})

describe('out of the queue, after a deletion', () => {
  it('leaves away what was deleted while it waited, and counts it as stored', async () => {
    const folder = await temporaryFolder()
    const clock = { ms: 1_760_000_100_000 }
    const store = await openEmbeddedStore({
      at: { file: join(folder.path, 'telemetry.db') },
      log,
      retentionMs: 0,
      now: () => clock.ms,
    })
    onTestFinished(async () => {
      await store.close()
      await folder.remove()
    })
    const intake = createRestoringIntake({ intake: createDirectIntake(store), ledger: store })
    const take = (deviceId: number, receivedAt: number, keys?: readonly string[]) =>
      intake.take({
        deviceId,
        deviceType: 'sensor',
        location: null,
        receivedAt,
        readings: [0, 1, 2].map((n) => readingAt(n, n)),
        keys,
        rejected: 0,
      })
    const values = async (deviceId: number) =>
      (await store.scan({ deviceId, from: 0n, to: 2n ** 62n, limit: 9 })).map(({ fields }) => fields.value)
    await store.noteRemoved(1, { from: readingAt(1, 0).time, to: readingAt(2, 0).time })
    await take(1, clock.ms - 1, ['a', 'b', 'c'])
    expect(await values(1)).toEqual([0, 2])
    const account = { received: 3, stored: 3, spooled: 0, rejected: 0, duplicates: 0 }
    expect(await store.account(1)).toEqual(account)
    // The keys stay with their readings, and what came later is not what was deleted.
    expect(await take(1, clock.ms + 1, ['a', 'b', 'c'])).toMatchObject({ stored: 1, duplicates: 2 })
    expect(await values(1)).toEqual([0, 1, 2])
    await take(2, clock.ms - 1)
    expect(await values(2)).toEqual([0, 1, 2])
    await store.noteRemoved(3, { from: 0n, to: 2n ** 63n - 1n })
    await take(3, clock.ms - 1)
    expect(await values(3)).toEqual([])
    expect(await store.account(3)).toEqual(account)
  })
})

describeWith({ moto: findMoto() !== undefined }, 'the queue, spoken to as SQS', () => {
  let sqs: Sqs
  beforeAll(async () => {
    sqs = await startSqs()
  }, 60_000)
  afterAll(() => sqs?.stop())

  const delivery = (values: readonly (number | string)[], more: Partial<Delivery> = {}): Delivery => ({
    deviceId: 7,
    deviceType: 'sensor',
    location: null,
    receivedAt: 1_760_000_000_000,
    readings: values.map((value, at) => ({ ...readingAt(at, 0), fields: { value } })),
    rejected: 0,
    ...more,
  })
  /** A store that says so. */
  const failing = (error: Error): Intake => {
    const fail = () => Promise.reject(error)
    return {
      take: fail,
      count: fail,
      account: fail,
      keeps: fail,
      spool: fail,
      dropSpooled: fail,
      lastArrival: fail,
      close: () => Promise.resolve(),
    }
  }
  const noLedger = { noteRemoved: () => Promise.reject(new Error('nothing is deleted here')) }
  const received = async () => {
    const messages = await sqs.receive()
    for (const message of messages) await sqs.delete(message)
    return messages.map(({ Body }) => decodeSpooled(JSON.parse(Body)))
  }

  it('gets what the store cannot take, and gives it back exactly', async () => {
    const queue = createQueue(sqs.queue)
    const intake = createQueuedIntake({ intake: failing(unavailable()), queue, ledger: noLedger, log })
    const sent = delivery([1, 'zwei \u{1f600}'], {
      keys: ['a', undefined],
      location: 'Lab',
      readings: [
        { time: 1_760_000_000_123_456_789n, fields: { n: 0.1, s: 'ä"\n', b: false }, metadata: { a: 'b' } },
        readingAt(1, 2),
      ],
    })
    expect(await intake.take(sent)).toEqual({ stored: 0, queued: 2, duplicates: 0 })
    expect((await intake.spool())?.depth).toBe(1)
    const [found] = await received()
    // JSON has no undefined: null is no key either.
    expect(found).toEqual({ ...sent, keys: ['a', undefined] })
    expect(await queue.depth()).toBe(0)
  })

  it('splits what is too large for one message, and loses nothing', async () => {
    const queue = createQueue(sqs.queue)
    const values = Array.from({ length: 300 }, (_, at) => `${at}:${'x'.repeat(3000)}`)
    await queue.send([delivery(values, { rejected: 2 })])
    const found = await received()
    expect(found.length).toBeGreaterThan(1)
    const readings = found.flatMap((one) => one?.readings ?? []).map(({ fields }) => fields.value)
    expect(readings.sort()).toEqual([...values].sort())
    expect(found.reduce((sum, one) => sum + (one?.rejected ?? 0), 0)).toBe(2)
  })

  it('measures a message in bytes', async () => {
    const values = Array.from({ length: 100 }, (_, at) => `${at}:${'\u{1f600}'.repeat(1000)}`)
    await createQueue(sqs.queue).send([delivery(values)])
    const messages = await sqs.receive()
    for (const message of messages) {
      expect(Buffer.byteLength(message.Body)).toBeLessThanOrEqual(200_000)
      await sqs.delete(message)
    }
    const found = messages.flatMap(({ Body }) => decodeSpooled(JSON.parse(Body))?.readings ?? [])
    expect(found).toHaveLength(values.length)
  })

  it('does not get what is refused for good, nor messages without readings', async () => {
    const refusal = new AppError('VALIDATION_FAILED', 'No.')
    const queue = createQueue(sqs.queue)
    await expect(
      createQueuedIntake({ intake: failing(refusal), queue, ledger: noLedger, log }).take(delivery([1])),
    ).rejects.toBe(refusal)
    const away = createQueuedIntake({ intake: failing(unavailable()), queue, ledger: noLedger, log })
    await expect(away.take(delivery([], { rejected: 1 }))).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    expect(await queue.depth()).toBe(0)
  })

  it('is no help when it is away too: the sender keeps the reading', async () => {
    const queue = createQueue({ ...sqs.queue, url: 'http://127.0.0.1:1/spool' })
    const intake = createQueuedIntake({ intake: failing(unavailable()), queue, ledger: noLedger, log })
    await expect(intake.take(delivery([1]))).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  })
})
