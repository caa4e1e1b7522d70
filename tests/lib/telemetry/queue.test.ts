import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { AppError } from '../../../lib/errors.ts'
import { createLog } from '../../../lib/log.ts'
import { openEmbeddedStore } from '../../../lib/telemetry/embedded.ts'
import type { Delivery, Intake } from '../../../lib/telemetry/intake.ts'
import {
  createPassingIntake,
  createQueue,
  createQueuedIntake,
  decodeSpooled,
} from '../../../lib/telemetry/queue.ts'
import { unavailable } from '../../../lib/telemetry/write-queue.ts'
import { describeWith } from '../../support/backends.ts'
import { intakeContract, readingAt } from '../../support/intake-contract.ts'
import { findMoto, type Sqs, startSqs } from '../../support/sqs.ts'
import { temporaryFolder } from '../../support/temporary.ts'

const log = createLog('silent')

intakeContract('past the spool, into a store without accounts', async () => {
  const folder = await temporaryFolder()
  const open = (name: string) =>
    openEmbeddedStore({ at: { file: join(folder.path, name) }, log, retentionMs: 0 })
  const [ledger, store] = [await open('ledger.db'), await open('telemetry.db')]
  return {
    intake: createPassingIntake({ ledger, store }),
    store,
    async end() {
      await Promise.all([ledger.close(), store.close()])
      await folder.remove()
    },
  }
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
  const received = async () => {
    const messages = await sqs.receive()
    for (const message of messages) await sqs.delete(message)
    return messages.map(({ Body }) => decodeSpooled(JSON.parse(Body)))
  }

  it('gets what the store cannot take, and gives it back exactly', async () => {
    const queue = createQueue(sqs.queue)
    const intake = createQueuedIntake({ intake: failing(unavailable()), queue, log })
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

  it('does not get what is refused for good, nor messages without readings', async () => {
    const refusal = new AppError('VALIDATION_FAILED', 'No.')
    const queue = createQueue(sqs.queue)
    await expect(
      createQueuedIntake({ intake: failing(refusal), queue, log }).take(delivery([1])),
    ).rejects.toBe(refusal)
    const away = createQueuedIntake({ intake: failing(unavailable()), queue, log })
    await expect(away.take(delivery([], { rejected: 1 }))).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    expect(await queue.depth()).toBe(0)
  })

  it('is no help when it is away too: the sender keeps the reading', async () => {
    const queue = createQueue({ ...sqs.queue, url: 'http://127.0.0.1:1/spool' })
    const intake = createQueuedIntake({ intake: failing(unavailable()), queue, log })
    await expect(intake.take(delivery([1]))).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  })
})
