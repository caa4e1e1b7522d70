/** The spool where there is no disk: what the stores cannot take goes into an SQS queue, from which it comes back as events. */
import { type AwsAccess, createAwsCall } from '../aws.ts'
import { AppError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { EmbeddedStore } from './embedded.ts'
import type { Delivery, Intake, Receipt } from './intake.ts'
import type { Reading } from './reading.ts'
import { type Bury, writeOrBury } from './single-out.ts'
import type { TelemetryStore } from './store.ts'
import { unavailable } from './write-queue.ts'

export interface Queue {
  /** Resolves when the messages are in the queue. */
  send(deliveries: readonly Delivery[]): Promise<void>
  /** About how many messages wait. */
  depth(): Promise<number>
}

/** With one try after the other; a function has 10 s in all. */
const timeoutMs = 2000
/** Bytes of a message; SQS takes 256 KiB everywhere. */
const maxMessageBytes = 200_000

/** A delivery as it stands in a message: times as strings, JSON numbers lose their last digits. */
interface Spooled extends Omit<Delivery, 'readings'> {
  readonly readings: readonly (Omit<Reading, 'time' | 'metadata'> & {
    readonly time: string
    readonly metadata?: Readonly<Record<string, string>> | undefined
  })[]
}

const encode = (delivery: Delivery): string => {
  const readings = delivery.readings.map((reading) => ({ ...reading, time: String(reading.time) }))
  return JSON.stringify({ spooled: { ...delivery, readings } satisfies Spooled })
}

/** What {@link Queue.send} put into a message; undefined for a message of somebody else. */
export function decodeSpooled(body: unknown): Delivery | undefined {
  const { spooled } = (body ?? {}) as { spooled?: Spooled }
  if (spooled === undefined) return undefined
  return {
    ...spooled,
    keys: spooled.keys?.map((key) => key ?? undefined),
    readings: spooled.readings.map(({ time, fields, metadata }) => ({
      time: BigInt(time),
      fields,
      metadata,
    })),
  }
}

/** Halves until each part fits into a message. */
const parts = (delivery: Delivery): Delivery[] => {
  const { readings, keys, rejected } = delivery
  if (readings.length < 2 || Buffer.byteLength(encode(delivery)) <= maxMessageBytes) return [delivery]
  const half = readings.length >> 1
  const part = (from: number, to: number, ofRejected: number) =>
    parts({
      ...delivery,
      readings: readings.slice(from, to),
      keys: keys?.slice(from, to),
      rejected: ofRejected,
    })
  return [...part(0, half, rejected), ...part(half, readings.length, 0)]
}

/** @param at.url of the queue. */
export function createQueue(at: AwsAccess & { readonly url: string }): Queue {
  const { url, ...access } = at
  const call = createAwsCall(access, {
    service: 'sqs',
    endpoint: new URL('/', url).href,
    protocol: '1.0',
    timeoutMs,
  })
  return {
    async send(deliveries) {
      for (const delivery of deliveries.flatMap(parts))
        await call('AmazonSQS.SendMessage', { QueueUrl: url, MessageBody: encode(delivery) })
    },
    async depth() {
      const name = 'ApproximateNumberOfMessages'
      const { Attributes } = await call<{ Attributes?: Record<string, string> }>(
        'AmazonSQS.GetQueueAttributes',
        { QueueUrl: url, AttributeNames: [name, `${name}NotVisible`] },
      )
      return Number(Attributes?.[name] ?? 0) + Number(Attributes?.[`${name}NotVisible`] ?? 0)
    },
  }
}

/**
 * The way into a store that keeps no accounts itself: keys are reserved with the time of their reading before it is stored,
 * and noted after. Two with one key at once, in two containers say, write the same point; the first one noted counts.
 */
export function createPassingIntake({
  store,
  ledger,
  bury,
}: {
  store: Pick<TelemetryStore, 'write'>
  ledger: EmbeddedStore
  bury: Bury
}): Intake {
  const takeOne = async (delivery: Delivery): Promise<Receipt> => {
    const { readings, keys } = delivery
    const times = keys ? await ledger.reserveKeys(delivery) : readings.map(({ time }) => time)
    const fresh = new Map<Reading, { readonly key: string | undefined }>()
    const met = new Set<string>()
    for (const [at, reading] of readings.entries()) {
      const [key, time] = [keys?.[at], times[at]]
      // Of two in one message the first counts.
      if (time === undefined || (key !== undefined && met.has(key))) continue
      if (key !== undefined) met.add(key)
      fresh.set({ ...reading, time }, { key })
    }
    const entry = { ...delivery, readings: [...fresh.keys()] }
    const buried = fresh.size === 0 ? new Set<Reading>() : await writeOrBury(store, bury, entry)
    const stored = [...fresh].flatMap(([reading, one]) => (buried.has(reading) ? [] : [one]))
    const refused = [...fresh].flatMap(([reading, one]) => (buried.has(reading) ? [one] : []))
    return ledger.note(delivery, { stored, refused, duplicates: readings.length - fresh.size })
  }
  /** Deliveries with keys come one after the other: each knows the keys of those before. */
  let keyed: Promise<unknown> = Promise.resolve()
  return {
    take(delivery) {
      if (delivery.keys === undefined) return takeOne(delivery)
      const taken = keyed.then(() => takeOne(delivery))
      keyed = taken.catch(() => undefined)
      return taken
    },
    count: (change) => ledger.countIn(change),
    account: (deviceId) => ledger.account(deviceId),
    keeps: () => Promise.resolve(false),
    spool: () => Promise.resolve(undefined),
    dropSpooled: () => Promise.resolve(),
    lastArrival: () => ledger.lastArrival(),
    close: () => Promise.resolve(),
  }
}

/** The way in for what comes out of the queue: readings that were deleted while they waited count as stored, and stay away. */
export function createRestoringIntake({
  intake,
  ledger,
}: {
  intake: Intake
  ledger: Pick<EmbeddedStore, 'removedSince' | 'countIn'>
}): Intake {
  return {
    ...intake,
    async take(delivery) {
      const { deviceId, receivedAt, readings, keys } = delivery
      const removed = await ledger.removedSince(deviceId, receivedAt)
      const kept = readings
        .map((reading, at) => ({ reading, key: keys?.[at] }))
        .filter(({ reading: { time } }) => !removed.some(({ from, to }) => time >= from && time < to))
      const gone = readings.length - kept.length
      if (gone === 0) return intake.take(delivery)
      const receipt = await intake.take({
        ...delivery,
        readings: kept.map(({ reading }) => reading),
        keys: keys && kept.map(({ key }) => key),
      })
      await ledger.countIn({ deviceId, received: gone, stored: gone })
      return receipt
    },
  }
}

/** The way in of a deployed stage: what the stores cannot take now goes into the queue. */
export function createQueuedIntake({
  intake,
  queue,
  ledger,
  log,
}: {
  intake: Intake
  queue: Queue
  ledger: Pick<EmbeddedStore, 'noteRemoved'>
  log: Log
}): Intake {
  return {
    ...intake,
    async take(delivery) {
      try {
        return await intake.take(delivery)
      } catch (error) {
        const mayCome = error instanceof AppError && error.code === 'UNAVAILABLE'
        if (!mayCome || delivery.readings.length === 0) throw error
        log.warn('the telemetry store is away, readings go into the queue', { error: error.cause })
        await queue.send([delivery]).catch((reason: unknown) => {
          throw unavailable(reason)
        })
        return { stored: 0, queued: delivery.readings.length, duplicates: 0 }
      }
    },
    keeps: () => Promise.resolve(true),
    // Nothing can be taken out of the queue before its turn.
    dropSpooled: (deviceId, range) => ledger.noteRemoved(deviceId, range),
    async spool() {
      return { depth: await queue.depth(), bytes: 0, oldestAt: undefined }
    },
  }
}
