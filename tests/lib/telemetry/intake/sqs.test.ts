/** An SQS queue as the spool: what goes in, and what comes out of it again. */
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { AppError } from '../../../../lib/errors.ts'
import { createLog } from '../../../../lib/log.ts'
import type { Delivery } from '../../../../lib/telemetry/delivery.ts'
import { openEmbedded } from '../../../../lib/telemetry/embedded/open.ts'
import { Intake } from '../../../../lib/telemetry/intake/intake.ts'
import { decodeQueuedDelivery, SqsSpool } from '../../../../lib/telemetry/intake/sqs.ts'
import { unavailable } from '../../../../lib/telemetry/unavailable.ts'
import { findMoto } from '../../../support/aws.ts'
import { describeWith } from '../../../support/backends.ts'
import { readingAt } from '../../../support/intake-contract.ts'
import { spoolContract } from '../../../support/spool-contract.ts'
import { type Sqs, startSqs } from '../../../support/sqs.ts'
import { temporaryFolder } from '../../../support/temporary.ts'

const log = createLog('silent')
/** Nothing is counted or deleted in these tests. */
const noLedger = {
  noteRemoved: () => Promise.reject(new Error('nothing is deleted here')),
  removedSince: () => Promise.reject(new Error('nothing is redelivered here')),
  count: () => Promise.reject(new Error('nothing is counted here')),
}

describe('a delivery out of the queue', () => {
  it('loses the readings that were deleted while it waited; they count as stored', async () => {
    const folder = await temporaryFolder()
    const clock = { ms: 1_760_000_100_000 }
    const { store, ledger, writer, close } = await openEmbedded({
      at: { file: join(folder.path, 'telemetry.db') },
      log,
      retentionMs: 0,
      now: () => clock.ms,
    })
    onTestFinished(async () => {
      await close()
      await folder.remove()
    })
    const intake = new Intake({ writer, ledger, retentionMs: 0, log })
    const take = (deviceId: number, receivedAt: number, keys?: readonly string[]) =>
      intake.redeliver({
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
    await ledger.noteRemoved(1, { from: readingAt(1, 0).time, to: readingAt(2, 0).time })
    await take(1, clock.ms - 1, ['a', 'b', 'c'])
    expect(await values(1)).toEqual([0, 2])
    const account = { received: 3, stored: 3, spooled: 0, rejected: 0, duplicates: 0, warned: 0 }
    expect(await ledger.account(1)).toEqual(account)
    // The keys stay with their readings, and what came later is not what was deleted.
    expect(await take(1, clock.ms + 1, ['a', 'b', 'c'])).toMatchObject({ stored: 1, duplicates: 2 })
    expect(await values(1)).toEqual([0, 1, 2])
    await take(2, clock.ms - 1)
    expect(await values(2)).toEqual([0, 1, 2])
    await ledger.noteRemoved(3, { from: 0n, to: 2n ** 63n - 1n })
    await take(3, clock.ms - 1)
    expect(await values(3)).toEqual([])
    expect(await ledger.account(3)).toEqual(account)
  })
})

describeWith({ moto: findMoto() !== undefined }, 'the queue, spoken to as SQS', () => {
  let sqs: Sqs
  beforeAll(async () => {
    sqs = await startSqs()
  })
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
  /** The way in while the store answers so. */
  const intakeOf = (error: AppError, spool: SqsSpool) =>
    new Intake({
      writer: { batchesAhead: 1, inAnyOrder: false, deliver: async (batch) => batch.map(() => error) },
      ledger: noLedger,
      log,
      retentionMs: 0,
      spool,
    })

  spoolContract('sqs', async () => {
    const take = async () => {
      const messages = await sqs.receive()
      for (const message of messages) await sqs.delete(message)
      return messages.flatMap(({ Body }) => decodeQueuedDelivery(JSON.parse(Body)) ?? [])
    }
    return { spool: new SqsSpool(sqs.queue, noLedger), take, end: async () => undefined }
  })

  const received = async () => {
    const messages = await sqs.receive()
    for (const message of messages) await sqs.delete(message)
    return messages.map(({ Body }) => decodeQueuedDelivery(JSON.parse(Body)))
  }

  it('gets what the store cannot take, and gives it back exactly', async () => {
    const queue = new SqsSpool(sqs.queue, noLedger)
    const intake = intakeOf(unavailable(), queue)
    const sent = delivery([1, 'zwei \u{1f600}'], {
      keys: ['a', undefined],
      location: 'Lab',
      readings: [
        { time: 1_760_000_000_123_456_789n, fields: { n: 0.1, s: 'ä"\n', b: false }, metadata: { a: 'b' } },
        readingAt(1, 2),
      ],
    })
    expect(await intake.deliver(sent)).toEqual({ stored: 0, queued: 2, duplicates: 0 })
    expect((await intake.spooled.spoolState())?.depth).toBe(1)
    const [found] = await received()
    // JSON has no undefined: null is no key either.
    expect(found).toEqual({ ...sent, keys: ['a', undefined] })
    expect((await queue.state()).depth).toBe(0)
  })

  it('splits what is too large for one message, and loses nothing', async () => {
    const queue = new SqsSpool(sqs.queue, noLedger)
    const values = Array.from({ length: 300 }, (_, at) => `${at}:${'x'.repeat(3000)}`)
    await queue.put([delivery(values, { rejected: 2, warned: 5 })])
    const found = await received()
    expect(found.length).toBeGreaterThan(1)
    const readings = found.flatMap((one) => one?.readings ?? []).map(({ fields }) => fields.value)
    expect(readings.sort()).toEqual([...values].sort())
    expect(found.reduce((sum, one) => sum + (one?.rejected ?? 0), 0)).toBe(2)
    expect(found.reduce((sum, one) => sum + (one?.warned ?? 0), 0)).toBe(5)
  })

  it('measures a message in bytes', async () => {
    const values = Array.from({ length: 100 }, (_, at) => `${at}:${'\u{1f600}'.repeat(1000)}`)
    await new SqsSpool(sqs.queue, noLedger).put([delivery(values)])
    const messages = await sqs.receive()
    for (const message of messages) {
      expect(Buffer.byteLength(message.Body)).toBeLessThanOrEqual(200_000)
      await sqs.delete(message)
    }
    const found = messages.flatMap(({ Body }) => decodeQueuedDelivery(JSON.parse(Body))?.readings ?? [])
    expect(found).toHaveLength(values.length)
  })

  it('does not get what is refused for good, nor messages without readings', async () => {
    const refusal = new AppError('VALIDATION_FAILED', 'No.')
    const queue = new SqsSpool(sqs.queue, noLedger)
    await expect(intakeOf(refusal, queue).deliver(delivery([1]))).rejects.toBe(refusal)
    const outage = intakeOf(unavailable(), queue)
    await expect(outage.deliver(delivery([], { rejected: 1 }))).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    expect((await queue.state()).depth).toBe(0)
  })

  it('is no help when it is unavailable too: the sender keeps the reading', async () => {
    const queue = new SqsSpool({ ...sqs.queue, url: 'http://127.0.0.1:1/spool' }, noLedger)
    const intake = intakeOf(unavailable(), queue)
    await expect(intake.deliver(delivery([1]))).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  })
})
