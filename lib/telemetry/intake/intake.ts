/**
 * The one way in for readings: HTTP, the brokers, the SQS queue and the replay of dead letters hand their deliveries in here,
 * and every delivery gets its outcome when its batch is durable.
 */
import { AppError } from '../../errors.ts'
import type { Log } from '../../log.ts'
import {
  type Accepted,
  acceptedOf,
  type Delivery,
  type Door,
  keysOf,
  type MessageArrival,
  maxBatchCharacters,
  type Outcome,
  type Sender,
  type Size,
  sizeOf,
  toDelivery,
} from '../delivery.ts'
import type { Ledger } from '../embedded/ledger.ts'
import type { FieldCatalogue } from '../field-catalogue.ts'
import { type Parsed, parsePayload } from '../payload/parse.ts'
import { digestOfJson } from '../reading-keys.ts'
import { conflictError, rejectionError } from '../rejections.ts'
import type { Spool, SpoolState } from '../spool.ts'
import type { TimeRange } from '../store.ts'
import { unavailable } from '../unavailable.ts'
import { countWarned, reusedIdWarning, strictError, WarnedLater } from '../warnings.ts'
import type { ArrivedDelivery, BatchObserver } from './batch-observer.ts'
import type { SpoolDrain } from './spool-drain.ts'
import { type BatchWriter, SpoolFallback } from './spool-fallback.ts'

export interface IntakeOptions {
  readonly writer: BatchWriter
  readonly ledger: Pick<Ledger, 'count' | 'removedSince'>
  readonly log: Log
  /** Age of the oldest readings that are kept, ms; 0 keeps telemetry for ever. */
  readonly retentionMs: number
  /** How far ahead of the arrival a device's clock is believed, ms. */
  readonly maxClockAheadMs?: number | undefined
  /** Knows the names of each device's fields, and bounds their number. */
  readonly fields?: FieldCatalogue | undefined
  /** Takes deliveries while the store is unavailable. */
  readonly spool?: Spool | undefined
  /** Empties the spool; only where this process does that. */
  readonly drain?: SpoolDrain | undefined
  readonly observers?: readonly BatchObserver[] | undefined
  /** Most readings that may wait to be written. */
  readonly maxWaiting?: number | undefined
  /** Most characters that may wait to be written. */
  readonly maxWaitingCharacters?: number | undefined
}

interface Waiting extends ArrivedDelivery {
  /** Whether the spool may take it: a delivery out of the spool's own queue stays there instead. */
  readonly maySpool: boolean
  readonly size: Size
  readonly resolve: (outcome: Outcome) => void
  readonly reject: (error: AppError) => void
}

/** As many waiting deliveries are handed over at once, without waiting for what else this turn of the event loop brings. */
const handOverAt = 32

/**
 * Group commit: deliveries that come at the same time are written as one batch. While one batch is under way the next one
 * gathers, so that a batch is one message in quiet times and thousands under load.
 */
class BatchQueue {
  readonly #write: (batch: readonly Waiting[]) => Promise<readonly (Outcome | AppError)[]>
  readonly #batchesAhead: number
  readonly #most: Size
  readonly #underWay = new Set<Promise<void>>()
  #queue: Waiting[] = []
  #readings = 0
  #characters = 0
  #planned = false
  #closed = false

  /**
   * @param write one outcome per delivery, in order, or why it was not stored.
   * @param batchesAhead batches that are handed over before the first of them is answered.
   * @param most what may wait; beyond it a delivery is refused.
   */
  constructor(
    write: (batch: readonly Waiting[]) => Promise<readonly (Outcome | AppError)[]>,
    batchesAhead: number,
    most: Size,
  ) {
    this.#write = write
    this.#batchesAhead = batchesAhead
    this.#most = most
  }

  /**
   * Resolves with the outcome of the write.
   * @throws {AppError} the write's error; UNAVAILABLE when more waits than the queue holds, or after its end.
   */
  add(delivery: Delivery, door: Door | undefined, maySpool: boolean): Promise<Outcome> {
    const size = sizeOf(delivery)
    const [readings, characters] = [this.#readings + size.readings, this.#characters + size.characters]
    if (this.#closed || readings > this.#most.readings || characters > this.#most.characters)
      return Promise.reject(unavailable())
    this.#readings = readings
    this.#characters = characters
    return new Promise((resolve, reject) => {
      this.#queue.push({ delivery, door, since: performance.now(), maySpool, size, resolve, reject })
      if (this.#batchesAhead > 1 && this.#queue.length >= handOverAt) this.#handOver()
      else if (!this.#planned && this.#underWay.size < this.#batchesAhead) {
        // Everything that this turn of the event loop brings belongs to the batch.
        this.#planned = true
        setImmediate(() => this.#handOver())
      }
    })
  }

  /** Takes nothing more. Resolves when everything is written. */
  async close(): Promise<void> {
    this.#closed = true
    this.#handOver()
    while (this.#underWay.size > 0) await Promise.all(this.#underWay)
  }

  #handOver(): void {
    this.#planned = false
    while (this.#queue.length > 0 && this.#underWay.size < this.#batchesAhead) {
      const batch = this.#writeBatch(this.#nextBatch()).then(() => {
        this.#underWay.delete(batch)
        this.#handOver()
      })
      this.#underWay.add(batch)
    }
  }

  #nextBatch(): Waiting[] {
    let characters = 0
    let end = 0
    while (end < this.#queue.length && (end === 0 || characters < maxBatchCharacters)) {
      characters += this.#queue[end]?.size.characters ?? 0
      end += 1
    }
    const batch = this.#queue.slice(0, end)
    this.#queue = this.#queue.slice(end)
    return batch
  }

  async #writeBatch(batch: readonly Waiting[]): Promise<void> {
    const outcomes = await this.#write(batch).catch((error: unknown) => batch.map(() => unavailable(error)))
    for (const [at, { size, resolve, reject }] of batch.entries()) {
      this.#readings -= size.readings
      this.#characters -= size.characters
      const outcome = outcomes[at] ?? unavailable()
      if (outcome instanceof AppError) reject(outcome)
      else resolve(outcome)
    }
  }
}

export class Intake {
  readonly #options: IntakeOptions
  readonly #queue: BatchQueue
  readonly #fallback: SpoolFallback
  readonly #warnedLater: WarnedLater

  constructor(options: IntakeOptions) {
    this.#options = options
    this.#warnedLater = new WarnedLater(options.ledger)
    this.#fallback = new SpoolFallback(options)
    this.#queue = new BatchQueue((batch) => this.#writeInTurn(batch), options.writer.batchesAhead, {
      readings: options.maxWaiting ?? 20_000,
      characters: options.maxWaitingCharacters ?? 64 * 1024 * 1024,
    })
  }

  /**
   * Takes one message; resolves when its good readings are durable, in the store or in the spool, and counted.
   * @param body the parsed JSON of the message.
   * @throws {AppError} VALIDATION_FAILED or TOO_OLD when no reading is good, VALIDATION_FAILED for a warning under strict handling
   * and for an Idempotency-Key that came with another body, UNAVAILABLE when it could not be stored.
   */
  async accept(sender: Sender, body: unknown, arrival: MessageArrival): Promise<Accepted> {
    const { receivedAt, idempotencyKey, redelivered = false, strict = false, door } = arrival
    const { fields, observers = [] } = this.#options
    let parsed: Parsed
    try {
      parsed = this.#parse(sender, body, arrival)
    } catch (error) {
      if (error instanceof AppError) await this.countRejected(sender.id, receivedAt, 1, door)
      throw error
    }
    const refused = strict && parsed.readings.length > 0 && parsed.warnings.length > 0
    // The names of a message that is refused are not noted.
    if (fields !== undefined && !refused) {
      if (!fields.knows(sender.id)) await fields.load(sender.id)
      parsed = fields.admit(sender.id, parsed, receivedAt)
    }
    const { readings, rejected, warnings, batch } = parsed
    if (readings.length === 0) {
      await this.countRejected(sender.id, receivedAt, rejected.length, door)
      throw rejectionError(rejected, batch)
    }
    if (strict && warnings.length > 0) {
      await this.countRejected(sender.id, receivedAt, readings.length + rejected.length, door)
      throw strictError(warnings, batch)
    }
    const delivery = toDelivery(sender, readings, receivedAt, {
      keys: keysOf(readings, arrival, idempotencyKey),
      rejected: rejected.length,
      ...(warnings.length > 0 && { warned: countWarned(readings, warnings) }),
      ...(idempotencyKey !== undefined && {
        request: { key: idempotencyKey, digest: digestOfJson(body) },
      }),
    })
    if (warnings.length > 0) for (const observer of observers) observer.messageWarned?.(warnings)
    const outcome = await (redelivered ? this.redeliver(delivery) : this.deliver(delivery, door))
    if (outcome.conflict) throw conflictError()
    if (fields?.hasNewNames) await fields.flush()
    const { reused } = outcome
    if (reused === undefined) return acceptedOf(delivery, { rejected, warnings, batch }, outcome)
    const all = [...warnings, ...reused.map((place) => reusedIdWarning(readings[place]?.index ?? 0))]
    await this.#warnedLater.count(sender.id, countWarned(readings, all) - countWarned(readings, warnings))
    return acceptedOf(delivery, { rejected, warnings: all, batch }, outcome)
  }

  /**
   * Counts readings that were rejected, by default a message that cannot be parsed. Resolves also when they cannot be counted.
   */
  async countRejected(deviceId: number, receivedAt: number, rejected = 1, door?: Door): Promise<void> {
    const delivery = { deviceId, receivedAt, deviceType: '', location: null, readings: [], rejected }
    try {
      await this.deliver(delivery, door)
    } catch (error) {
      // The reading stays rejected; without the count, neither side of the account has it.
      if (!(error instanceof AppError)) throw error
    }
  }

  /**
   * Resolves when every reading is durable, in the store or in the spool, and counted.
   * @throws {AppError} UNAVAILABLE when neither could be done; nothing is counted then.
   */
  deliver(delivery: Delivery, door?: Door): Promise<Outcome> {
    return this.#queue.add(delivery, door, true)
  }

  /**
   * Takes a delivery that waited in a queue. Readings that were deleted meanwhile are not stored again; they count as stored.
   * @throws {AppError} UNAVAILABLE: the delivery has to come again.
   */
  async redeliver(delivery: Delivery): Promise<Outcome> {
    const { ledger } = this.#options
    // Its request was compared when it came first, and that may be longer ago than keys are remembered.
    const { request: _, ...known } = delivery
    const { deviceId, receivedAt, readings, keys } = known
    const removed = await ledger.removedSince(deviceId, receivedAt)
    const isKept = readings.map(({ time }) => !removed.some(({ from, to }) => time >= from && time < to))
    const kept: Delivery = {
      ...known,
      readings: readings.filter((_, at) => isKept[at]),
      keys: keys?.filter((_, at) => isKept[at]),
    }
    const outcome = await this.#queue.add(kept, 'queue', false)
    const gone = readings.length - kept.readings.length
    if (gone > 0) await ledger.count({ deviceId, received: gone, stored: gone })
    return outcome
  }

  /** @throws {AppError} as {@link parsePayload}. */
  #parse({ timezone }: Sender, body: unknown, arrival: MessageArrival): Parsed {
    const { receivedAt, messageId, subtopic, senml, invalidUtf8 } = arrival
    const { retentionMs, maxClockAheadMs } = this.#options
    return parsePayload(body, {
      receivedAt,
      messageId,
      subtopic,
      senml,
      invalidUtf8,
      timezone,
      retentionMs,
      ...(maxClockAheadMs !== undefined && { maxClockAheadMs }),
    })
  }

  /** Whether readings are accepted while the store is unavailable. */
  async acceptsDuringOutage(): Promise<boolean> {
    return (await this.#options.spool?.accepts()) ?? false
  }

  /** Undefined where there is no spool. @throws {AppError} UNAVAILABLE */
  async spoolState(): Promise<SpoolState | undefined> {
    return this.#options.spool?.state()
  }

  /**
   * Drops the waiting readings of a range; they count as stored. Afterwards no write of such readings is under way any more, so
   * that a deletion in the store finds all of them.
   * @throws {AppError} UNAVAILABLE
   */
  async dropSpooled(deviceId: number, range: TimeRange): Promise<void> {
    await this.#options.spool?.dropRange(deviceId, range)
    await this.#options.drain?.writesEnded()
  }

  /** Waits until the spool is empty, where this process empties it. @param until by performance.now(): no longer. */
  async emptySpool(until: number): Promise<void> {
    await this.#options.drain?.emptied(until)
  }

  /** Takes nothing more, and writes what waits. */
  async close(): Promise<void> {
    await this.#queue.close()
    await this.#options.drain?.close()
  }

  async #writeInTurn(batch: readonly Waiting[]): Promise<readonly (Outcome | AppError)[]> {
    const { drain, observers = [] } = this.#options
    let began = performance.now()
    const write = () => {
      began = performance.now()
      return this.#write(batch)
    }
    const outcomes = await (drain === undefined ? write() : drain.exclusively(write))
    for (const observer of observers) observer.batchEnded(batch, outcomes, began)
    return outcomes
  }

  async #write(batch: readonly Waiting[]): Promise<readonly (Outcome | AppError)[]> {
    const fallback = this.#fallback
    // A device's readings stay in order: while older ones wait in the spool, newer ones follow them there.
    if (fallback.hasBacklog && batch.some(({ delivery }) => delivery.readings.length > 0))
      return fallback.writeAndSpool(batch.map(({ delivery }) => delivery))
    const outcomes = await this.#options.writer.deliver(batch.map(({ delivery }) => delivery))
    return outcomes.some((outcome) => outcome instanceof AppError || 'error' in outcome)
      ? fallback.spoolUnstored(batch, outcomes)
      : (outcomes as readonly Outcome[])
  }
}
