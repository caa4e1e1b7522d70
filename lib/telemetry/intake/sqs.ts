/** An SQS queue as the spool where there is no disk: its messages come back as events of the ingest function. */
import type { AppError } from '../../errors.ts'
import { type AwsAccess, createAwsCall } from '../../lambda/aws.ts'
import type { Delivery, Outcome } from '../delivery.ts'
import type { Ledger } from '../embedded/ledger.ts'
import type { Reading } from '../reading.ts'
import { samplesAt } from '../samples.ts'
import type { Spool, SpoolState } from '../spool.ts'
import type { TimeRange } from '../store.ts'
import { unavailable } from '../unavailable.ts'

/** Limit of one try, ms; a second one may follow, and a function has 10 s in all. */
const timeoutMs = 2000
/** Bytes of a message; SQS takes 256 KiB in every region. */
const maxMessageBytes = 200_000

/** A delivery as it stands in a message: times as strings, because JSON numbers lose their last digits. */
interface QueuedDelivery extends Omit<Delivery, 'readings' | 'keys'> {
  readonly keys?: readonly (string | null | undefined)[] | undefined
  readonly readings: readonly (Omit<Reading, 'time' | 'metadata'> & {
    readonly time: string
    readonly metadata?: Readonly<Record<string, string>> | undefined
  })[]
}

const encode = (delivery: Delivery): string => {
  const readings = delivery.readings.map((reading) => ({ ...reading, time: String(reading.time) }))
  return JSON.stringify({ spooled: { ...delivery, readings } satisfies QueuedDelivery })
}

/** Reads the delivery in a message of {@link SqsSpool}; undefined for a message of somebody else. */
export function decodeQueuedDelivery(body: unknown): Delivery | undefined {
  const { spooled } = (body ?? {}) as { spooled?: QueuedDelivery }
  if (spooled === undefined) return undefined
  return {
    ...spooled,
    // JSON has no undefined: a missing key is null there.
    keys: spooled.keys?.map((key) => key ?? undefined),
    readings: spooled.readings.map(({ time, fields, metadata }) => ({
      time: BigInt(time),
      fields,
      metadata,
    })),
  }
}

/** Halves a delivery until each part fits into a message. */
const splitToFit = (delivery: Delivery): Delivery[] => {
  const { readings, keys, samples, rejected, warned } = delivery
  if (readings.length < 2 || Buffer.byteLength(encode(delivery)) <= maxMessageBytes) return [delivery]
  const half = readings.length >> 1
  const part = (from: number, to: number, counts: Pick<Delivery, 'rejected' | 'warned'>) =>
    splitToFit({
      ...delivery,
      readings: readings.slice(from, to),
      keys: keys?.slice(from, to),
      samples: samplesAt(
        samples,
        Array.from({ length: to - from }, (_, at) => from + at),
      ),
      ...counts,
    })
  return [
    ...part(0, half, { rejected, warned }),
    ...part(half, readings.length, { rejected: 0, warned: undefined }),
  ]
}

export interface SqsSpoolOptions extends AwsAccess {
  /** URL of the queue. */
  readonly url: string
}

export class SqsSpool implements Spool {
  readonly #url: string
  readonly #ledger: Pick<Ledger, 'noteRemoved'>
  readonly #call: ReturnType<typeof createAwsCall>

  /** @param ledger remembers deleted ranges: nothing can be taken out of the queue before its turn. */
  constructor({ url, ...access }: SqsSpoolOptions, ledger: Pick<Ledger, 'noteRemoved'>) {
    this.#url = url
    this.#ledger = ledger
    this.#call = createAwsCall(access, {
      service: 'sqs',
      endpoint: new URL('/', url).href,
      protocol: '1.0',
      timeoutMs,
    })
  }

  put(batch: readonly Delivery[]): Promise<(Outcome | AppError)[]> {
    return Promise.all(
      batch.map((delivery) =>
        this.#send(delivery).then(
          () => ({ stored: 0, queued: delivery.readings.length, duplicates: 0 }),
          (error: unknown) => unavailable(error),
        ),
      ),
    )
  }

  accepts(): Promise<boolean> {
    return Promise.resolve(true)
  }

  /** `depth` is the approximate number of waiting messages, because a queue cannot count readings. */
  async state(): Promise<SpoolState> {
    const name = 'ApproximateNumberOfMessages'
    const { Attributes } = await this.#call<{ Attributes?: Record<string, string> }>(
      'AmazonSQS.GetQueueAttributes',
      { QueueUrl: this.#url, AttributeNames: [name, `${name}NotVisible`] },
    )
    const depth = Number(Attributes?.[name] ?? 0) + Number(Attributes?.[`${name}NotVisible`] ?? 0)
    return { depth, bytes: 0, oldestAt: undefined }
  }

  dropRange(deviceId: number, range: TimeRange): Promise<void> {
    return this.#ledger.noteRemoved(deviceId, range)
  }

  async #send(delivery: Delivery): Promise<void> {
    for (const part of splitToFit(delivery))
      await this.#call('AmazonSQS.SendMessage', { QueueUrl: this.#url, MessageBody: encode(part) })
  }
}
