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
  type Outcome,
  type Sender,
  toDelivery,
} from '../delivery.ts'
import type { Ledger } from '../embedded/ledger.ts'
import type { FieldCatalogue } from '../field-catalogue.ts'
import { type Parsed, parsePayload } from '../payload/parse.ts'
import { digestOfJson } from '../reading-keys.ts'
import { conflictError, rejectionError } from '../rejections.ts'
import { type Sampler, samplesAt } from '../samples.ts'
import type { Spool } from '../spool.ts'
import { countWarned, reusedIdWarning, strictError, WarnedLater } from '../warnings.ts'
import type { BatchObserver } from './batch-observer.ts'
import { BatchQueue, type Waiting } from './batch-queue.ts'
import { accessTo, type SpoolAccess } from './spool-access.ts'
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
  /** Knows the alert rules. */
  readonly sampler?: Sampler | undefined
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

export class Intake {
  readonly #options: IntakeOptions
  readonly #queue: BatchQueue
  readonly #fallback: SpoolFallback
  readonly #warnedLater: WarnedLater
  /** The way to the readings that wait in the spool. */
  readonly spooled: SpoolAccess

  constructor(options: IntakeOptions) {
    this.#options = options
    this.spooled = accessTo(options.spool, () => options.drain?.writesEnded() ?? Promise.resolve())
    this.#warnedLater = new WarnedLater(options.ledger)
    this.#fallback = new SpoolFallback(options)
    this.#queue = new BatchQueue((batch) => this.#writeInTurn(batch), options.writer, {
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
    const { fields, sampler, observers = [] } = this.#options
    const rulesReady = sampler?.ready()
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
    if (rulesReady !== undefined) await rulesReady
    const taken = readings.map(({ reading }) => reading)
    const delivery = toDelivery(sender, taken, receivedAt, {
      keys: keysOf(readings, arrival, idempotencyKey),
      rejected: rejected.length,
      warned: warnings.length > 0 ? countWarned(readings, warnings) : undefined,
      request: idempotencyKey === undefined ? undefined : { key: idempotencyKey, digest: digestOfJson(body) },
      samples: sampler?.samplesOf(sender, taken),
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
   * Takes a message of which all is to be stored, and nothing else is to be done: nearly every message over MQTT is one.
   * @param ended called when its readings are durable and counted, or with the error UNAVAILABLE when nothing of it is.
   * @returns false for every other message: nothing of it is stored or counted, and {@link accept} has to take it; what to wait for before
   * it can be told, where rules or names of fields are to be read first.
   */
  take(
    sender: Sender,
    body: unknown,
    arrival: MessageArrival,
    ended: (failure?: AppError) => void,
  ): boolean | Promise<void> {
    const { fields, sampler } = this.#options
    const rulesReady = sampler?.ready()
    if (rulesReady !== undefined) return rulesReady
    if (fields?.knows(sender.id) === false) return fields.load(sender.id)
    const parsed = this.#parsePlain(sender, body, arrival)
    if (parsed === undefined) return false
    const { receivedAt, door } = arrival
    // Of new names, some may be too many, and the others are to be written before the answer.
    if (
      fields !== undefined &&
      (fields.admit(sender.id, parsed, receivedAt) !== parsed || fields.hasNewNames)
    )
      return false
    const taken = parsed.readings.map(({ reading }) => reading)
    const delivery = toDelivery(sender, taken, receivedAt, {
      rejected: 0,
      samples: sampler?.samplesOf(sender, taken),
    })
    this.#queue.add(delivery, door, true, (outcome) =>
      ended(outcome instanceof AppError ? outcome : undefined),
    )
    return true
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
    return this.#add(delivery, door, true)
  }

  /**
   * Takes a delivery that waited in a queue. Readings that were deleted meanwhile are not stored again; they count as stored.
   * @throws {AppError} UNAVAILABLE: the delivery has to come again.
   */
  async redeliver(delivery: Delivery): Promise<Outcome> {
    const { ledger } = this.#options
    // Its request was compared when it came first, and that may be longer ago than keys are remembered.
    const { request: _, ...known } = delivery
    const { deviceId, receivedAt, readings, keys, samples } = known
    const removed = await ledger.removedSince(deviceId, receivedAt)
    const isKept = readings.map(({ time }) => !removed.some(({ from, to }) => time >= from && time < to))
    const places = [...isKept.keys()].filter((at) => isKept[at])
    const kept: Delivery = {
      ...known,
      readings: readings.filter((_, at) => isKept[at]),
      keys: keys?.filter((_, at) => isKept[at]),
      samples: samplesAt(samples, places),
    }
    const outcome = await this.#add(kept, 'queue', false)
    const gone = readings.length - kept.readings.length
    if (gone > 0) await ledger.count({ deviceId, received: gone, stored: gone })
    return outcome
  }

  #add(delivery: Delivery, door: Door | undefined, maySpool: boolean): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      this.#queue.add(delivery, door, maySpool, (outcome) => {
        if (outcome instanceof AppError) reject(outcome)
        else resolve(outcome)
      })
    })
  }

  /** @returns undefined when anything is to be said about the message, or a reading of it has an id. */
  #parsePlain(sender: Sender, body: unknown, arrival: MessageArrival): Parsed | undefined {
    try {
      const parsed = this.#parse(sender, body, arrival)
      const { readings, rejected, warnings } = parsed
      const isPlain = readings.length > 0 && rejected.length === 0 && warnings.length === 0
      return isPlain && readings.every(({ messageId }) => messageId === undefined) ? parsed : undefined
    } catch (error) {
      if (error instanceof AppError) return undefined
      throw error
    }
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
    const outcomes = await (drain === undefined ? write() : drain.beside(write))
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
