/**
 * Writes batches into a store that keeps no accounts itself. Per batch: reserve the keys (only where there are any), one write
 * to the store, dead letters for the readings that it refuses, one record in the ledger.
 *
 * Keys are reserved with the time of their reading before it is stored, and recorded after. Two processes that write the same
 * key at once therefore write the same point, and the first one that records it counts.
 */
import { AppError } from '../../errors.ts'
import { type Delivery, hasKeys, type Outcome } from '../delivery.ts'
import type { Ledger, RecordedDelivery, Reservation } from '../embedded/ledger.ts'
import { samplesAt } from '../samples.ts'
import type { TelemetryStore, WriteEntry, WriteOutcome } from '../store.ts'
import { allUnavailable, unavailable } from '../unavailable.ts'
import type { BatchWriter, Unstored } from './spool-fallback.ts'

/** Keeps a reading that the store refuses for good; with `onceKey` once for each key, however many processes try. */
export type KeepDeadLetter = (entry: WriteEntry, reason: string, onceKey?: string) => Promise<void>

export const refusedReason = 'The telemetry store refused the reading.'

export interface StoreWriterOptions {
  readonly store: Pick<TelemetryStore, 'write'>
  readonly ledger: Pick<Ledger, 'reserve' | 'record'>
  readonly keepDeadLetter: KeepDeadLetter
  /**
   * How long a batch may wait for the store before it counts as unavailable, ms; undefined waits until the store answers or times
   * out.
   */
  readonly patienceMs?: number | undefined
}

/** A delivery with the readings of it that are to be written. */
interface Planned {
  readonly delivery: Delivery
  /** Under the times that their keys are reserved for. */
  readonly entry: WriteEntry
  /** One per reading of `entry`. */
  readonly keys: readonly (string | undefined)[]
  /** Of the readings of `entry`. */
  readonly samples?: Delivery['samples']
  readonly duplicates: number
  /** Places in the delivery; see {@link Outcome}. */
  readonly reused: readonly number[]
  readonly conflict: boolean
  /** Earlier deliveries of the batch that have a key of this one: its duplicates stand only when those are stored. */
  readonly dependsOn: ReadonlySet<number>
}

const noKeys: readonly string[] = []

const isStored = (outcome: WriteOutcome): boolean => 'refused' in outcome && outcome.refused.length === 0

export class StoreWriter implements BatchWriter {
  /** With two, other devices do not wait for a batch that takes long, and all wait less where InfluxDB is far away. */
  readonly batchesAhead = 2
  readonly inAnyOrder = true
  readonly #options: StoreWriterOptions
  readonly #underWay = new Set<Promise<unknown>>()

  constructor(options: StoreWriterOptions) {
    this.#options = options
  }

  /** Resolves when no write is under way, also none that a batch no longer waits for. */
  async writesEnded(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay)
  }

  async deliver(batch: readonly Delivery[]): Promise<(Outcome | AppError | Unstored)[]> {
    let planned: Planned[] | undefined
    try {
      const isKeyed = batch.some(hasKeys)
      const early = isKeyed ? undefined : await this.#write(batch)
      if (early?.every(isStored)) return await this.#recordStored(batch)
      planned = await this.#plan(batch, isKeyed)
      const written = early ?? (await this.#write(planned.map(({ entry }) => entry)))
      const results = await this.#keepRefused(planned, written)
      return await this.#record(planned, results)
    } catch (error) {
      const { code } = error as { code?: unknown }
      const failure = error instanceof AppError && code === 'UNAVAILABLE' ? error : unavailable(error)
      // Keep the reserved times: a part of the batch may be stored under them.
      return planned?.map((one) => this.#unstored(one, failure)) ?? batch.map(() => failure)
    }
  }

  /** Reserves the keys and leaves out the readings that are recorded, or come twice in the batch. */
  async #plan(batch: readonly Delivery[], isKeyed: boolean): Promise<Planned[]> {
    const reserved = isKeyed ? await this.#options.ledger.reserve(batch) : []
    const firstWithKey = new Map<string, number>()
    return batch.map((delivery, at) => {
      const { readings, keys = [] } = delivery
      const { times = [], reused = [], conflict = false }: Partial<Reservation> = reserved[at] ?? {}
      const nothing = { keys: [], duplicates: 0, reused, conflict, dependsOn: new Set<number>() }
      if (conflict) return { ...nothing, delivery, entry: { ...delivery, readings: [] } }
      const { samples } = delivery
      if (!hasKeys(delivery)) return { ...nothing, delivery, entry: delivery, samples }
      const kept: { index: number; reading: WriteEntry['readings'][number]; key: string | undefined }[] = []
      const dependsOn = new Set<number>()
      for (const [index, reading] of readings.entries()) {
        const [key, time] = [keys[index], times[index]]
        const ofDevice = `${delivery.deviceId} ${key}`
        const first = key === undefined ? undefined : firstWithKey.get(ofDevice)
        if (first !== undefined && first !== at) dependsOn.add(first)
        if (time === undefined || first !== undefined) continue
        if (key !== undefined) firstWithKey.set(ofDevice, at)
        kept.push({ index, reading: time === reading.time ? reading : { ...reading, time }, key })
      }
      return {
        delivery,
        entry: { ...delivery, readings: kept.map(({ reading }) => reading) },
        keys: kept.map(({ key }) => key),
        samples: samplesAt(
          samples,
          kept.map(({ index }) => index),
        ),
        duplicates: readings.length - kept.length,
        reused: reused.filter((place) => kept.some(({ index }) => index === place)),
        conflict,
        dependsOn,
      }
    })
  }

  /** @returns one outcome per entry. */
  async #write(entries: readonly WriteEntry[]): Promise<readonly WriteOutcome[]> {
    const full = entries.filter(({ readings }) => readings.length > 0)
    if (full.length === entries.length) return full.length === 0 ? [] : this.#writeInTime(full)
    const next = (full.length === 0 ? [] : await this.#writeInTime(full)).values()
    return entries.map(({ readings }) =>
      readings.length === 0 ? { refused: [] } : (next.next().value ?? { unavailable: unavailable() }),
    )
  }

  async #writeInTime(entries: readonly WriteEntry[]): Promise<readonly WriteOutcome[]> {
    const { store, patienceMs } = this.#options
    const writing = store.write(entries).catch((error: unknown) => allUnavailable(entries, error))
    this.#underWay.add(writing)
    void writing.then(() => this.#underWay.delete(writing))
    if (patienceMs === undefined) return writing
    // p-timeout makes its error for every call, needed or not: 2 to 3 % of the CPU of a small batch.
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        resolve(allUnavailable(entries, new Error('The telemetry store did not answer in time.')))
      }, patienceMs)
      void writing.then((outcomes) => {
        clearTimeout(timer)
        resolve(outcomes)
      })
    })
  }

  /** Keeps refused readings as dead letters; a delivery whose dead letter cannot be kept counts as not stored. */
  async #keepRefused(planned: readonly Planned[], written: readonly WriteOutcome[]): Promise<WriteOutcome[]> {
    const results: WriteOutcome[] = []
    for (const [at, outcome] of written.entries()) {
      const { entry, dependsOn } = planned[at] as Planned
      const failed = [...dependsOn].map((first) => results[first]).find((one) => one && 'unavailable' in one)
      results.push(failed ?? (await this.#keepRefusedOf(entry, outcome)))
    }
    return results
  }

  async #keepRefusedOf(entry: WriteEntry, outcome: WriteOutcome): Promise<WriteOutcome> {
    if ('unavailable' in outcome) return outcome
    try {
      for (const place of outcome.refused)
        await this.#options.keepDeadLetter(
          { ...entry, readings: entry.readings.slice(place, place + 1) },
          refusedReason,
        )
      return outcome
    } catch (error) {
      return { unavailable: unavailable(error) }
    }
  }

  /** Records a batch without keys all of whose readings are stored: nearly every batch is one, and needs no plan. */
  async #recordStored(batch: readonly Delivery[]): Promise<Outcome[]> {
    await this.#options.ledger.record(
      batch.map(({ deviceId, receivedAt, readings, rejected, warned, samples }) => ({
        deviceId,
        receivedAt,
        rejected,
        duplicates: 0,
        warned,
        stored: readings.length,
        samples: samples?.map((sample) => ({ ...sample, time: readings[sample.at]?.time ?? 0n })),
        refusedKeys: noKeys,
      })),
    )
    return batch.map(({ readings }) => ({ stored: readings.length, queued: 0, duplicates: 0 }))
  }

  async #record(
    planned: readonly Planned[],
    results: readonly WriteOutcome[],
  ): Promise<(Outcome | Unstored)[]> {
    const records: RecordedDelivery[] = []
    for (const [at, outcome] of results.entries()) {
      if ('unavailable' in outcome) continue
      const { delivery, entry, keys, samples, duplicates, conflict } = planned[at] as Planned
      const refused = new Set(outcome.refused)
      const storedPlaces = [...entry.readings.keys()].filter((place) => !refused.has(place))
      records.push({
        deviceId: delivery.deviceId,
        receivedAt: delivery.receivedAt,
        rejected: delivery.rejected + refused.size + (conflict ? delivery.readings.length : 0),
        duplicates,
        warned: conflict ? undefined : delivery.warned,
        stored: storedPlaces.length,
        keys: keys.length === 0 ? undefined : storedPlaces.map((place) => keys[place]),
        samples: samplesAt(samples, storedPlaces)?.map((sample) => ({
          ...sample,
          time: entry.readings[storedPlaces[sample.at] ?? 0]?.time ?? 0n,
        })),
        refusedKeys: outcome.refused.flatMap((place) => keys[place] ?? []),
      })
    }
    const recordedBefore = (await this.#options.ledger.record(records)).values()
    const recorded = records.values()
    return results.map((outcome, at) => {
      const { reused, conflict } = planned[at] as Planned
      if ('unavailable' in outcome) return this.#unstored(planned[at] as Planned, outcome.unavailable)
      const { stored, duplicates } = recorded.next().value as RecordedDelivery
      const recordedHere = recordedBefore.next().value ?? 0
      return {
        stored: stored - recordedHere,
        queued: 0,
        duplicates: duplicates + recordedHere,
        ...(reused.length > 0 && { reused }),
        ...(conflict && { conflict }),
      }
    })
  }

  /** The spool keeps readings under the times of their keys: were one stored after all, it is the same point. */
  #unstored({ delivery, entry, keys }: Planned, error: AppError): Unstored {
    if (keys.length === 0) return { error, delivery }
    const timeOf = new Map(keys.map((key, place) => [key, entry.readings[place]?.time]))
    const readings = delivery.readings.map((reading, at) => {
      const key = delivery.keys?.[at]
      const time = key === undefined ? undefined : timeOf.get(key)
      return time === undefined ? reading : { ...reading, time }
    })
    return { error, delivery: { ...delivery, readings } }
  }
}
