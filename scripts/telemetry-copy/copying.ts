/**
 * Copies readings from one store to another, each with its time, values, metadata, tags and time of arrival: device by device,
 * slice by slice from the oldest on, so that an interrupted copy can go on where it ended.
 */
import type { StoredReading, TelemetryStore, TimeRange } from '../../lib/telemetry/store.ts'
import { type Retry, type RetryOptions, retryWhileUnavailable } from './retry.ts'
import { earlier, extentOf, later, slicesOf } from './slices.ts'

export interface CopyProgress {
  readonly phase: 'counting' | 'copying' | 'comparing' | 'waiting'
  /** The number of the device under way, from 1. */
  readonly device: number
  readonly devices: number
  /** Readings that this run has copied, or compared. */
  readonly readings: number
  /** Readings to copy in this run, as far as they are counted. */
  readonly total: number
}

/** For each device: every reading before this time is copied, ns since the epoch. */
export type Done = Map<number, bigint>

export interface CopyOptions extends RetryOptions {
  readonly from: TelemetryStore
  readonly to: TelemetryStore
  /** Undefined copies all devices. */
  readonly devices: readonly number[] | undefined
  readonly range: TimeRange
  /** The progress of earlier runs. This run writes its own into it as soon as readings are durable. */
  readonly done: Done
  /** The destination keeps no readings before this time, ns since the epoch: they are left out. */
  readonly keptFrom: () => bigint
  readonly onProgress: (progress: CopyProgress) => void
}

/** A reading that the destination has refused. */
export interface Refused {
  readonly deviceId: number
  readonly time: bigint
}

export interface Copied {
  readonly readings: number
  readonly devices: number
  /** Readings that are older than the destination keeps. */
  readonly tooOld: number
  readonly refused: readonly Refused[]
  /** True when the signal ended the copy. */
  readonly interrupted: boolean
}

/** A slice of this size is fast to copy, and small enough for the memory and for the queue of a store. */
const sliceBytes = 4_000_000
/** Most readings of one slice. */
const maxSliceReadings = 2000
/** Readings of one `scan`. */
const pageReadings = 10_000

const bytesOf = ({ fields, metadata }: StoredReading) =>
  JSON.stringify(fields).length + (metadata ? JSON.stringify(metadata).length : 0) + 64

/** The readings that are left when some of them were written or refused. */
interface WriteResult {
  readonly left: readonly StoredReading[]
  readonly error: unknown
}

/** One run of a copy. */
class CopyRun {
  readonly #options: CopyOptions
  readonly #retry: Retry
  readonly #refused: Refused[] = []
  #progress: CopyProgress = { phase: 'counting', device: 0, devices: 0, readings: 0, total: 0 }
  #tooOld = 0
  /** Readings of the next slice: it follows the size of the readings. */
  #sliceReadings = 200

  constructor(options: CopyOptions) {
    this.#options = options
    this.#retry = retryWhileUnavailable(options, () =>
      options.onProgress({ ...this.#progress, phase: 'waiting' }),
    )
  }

  async run(): Promise<Copied> {
    const { from, signal } = this.#options
    const devices = this.#options.devices ?? (await this.#retry(() => from.devices()))
    this.#report({ devices: devices.length })
    await this.#countAll(devices)
    this.#report({ phase: 'copying', device: 0 })
    for (const [at, deviceId] of devices.entries()) {
      if (signal.aborted) break
      this.#report({ phase: 'copying', device: at + 1 })
      await this.#copyDevice(deviceId)
    }
    return {
      readings: this.#progress.readings,
      devices: devices.length,
      tooOld: this.#tooOld,
      refused: this.#refused,
      interrupted: signal.aborted,
    }
  }

  #report(change: Partial<CopyProgress>): void {
    this.#progress = { ...this.#progress, ...change }
    this.#options.onProgress(this.#progress)
  }

  /** Counts the readings to copy, and those that are too old. */
  async #countAll(devices: readonly number[]): Promise<void> {
    const { range, keptFrom, signal } = this.#options
    for (const [at, deviceId] of devices.entries()) {
      if (signal.aborted) return
      const [start, oldest] = [this.#startOf(deviceId), keptFrom()]
      this.#tooOld += await this.#count(deviceId, { from: start, to: earlier(oldest, range.to) })
      const ahead = await this.#count(deviceId, { from: later(start, oldest), to: range.to })
      this.#report({ device: at + 1, total: this.#progress.total + ahead })
    }
  }

  #startOf(deviceId: number): bigint {
    const { range, done } = this.#options
    return later(range.from, done.get(deviceId) ?? 0n)
  }

  async #count(deviceId: number, part: TimeRange): Promise<number> {
    return part.from < part.to ? this.#retry(() => this.#options.from.count(deviceId, part)) : 0
  }

  async #copyDevice(deviceId: number): Promise<void> {
    const { from, range, done, keptFrom, signal } = this.#options
    const ahead = { from: later(this.#startOf(deviceId), keptFrom()), to: range.to }
    if (ahead.from >= ahead.to) return
    const extent = await this.#retry(() => extentOf(from, deviceId, ahead))
    if (extent === undefined) return
    const count = (part: TimeRange) => this.#count(deviceId, part)
    let writing: Promise<void> = Promise.resolve()
    try {
      for await (const slice of slicesOf(count, extent, () => this.#sliceReadings)) {
        if (signal.aborted) break
        const readings = await this.#read(deviceId, slice)
        this.#adjustSlice(readings)
        await writing
        // The next slice is read while this one is written.
        writing = this.#writeSlice(deviceId, slice.to, readings)
        writing.catch(() => undefined)
      }
    } finally {
      await writing
    }
    if (!signal.aborted) done.set(deviceId, extent.to)
  }

  #adjustSlice(readings: readonly StoredReading[]): void {
    const bytes = readings.reduce((sum, reading) => sum + bytesOf(reading), 1)
    const fitting = Math.floor((readings.length * sliceBytes) / bytes)
    this.#sliceReadings = Math.max(1, Math.min(maxSliceReadings, this.#sliceReadings * 4, fitting))
  }

  /** Reads a slice to its end: a store that is written to may have more readings in it than were counted. */
  async #read(deviceId: number, slice: TimeRange): Promise<StoredReading[]> {
    const { from } = this.#options
    const all: StoredReading[] = []
    for (let start = slice.from; ; ) {
      const query = { deviceId, from: start, to: slice.to, limit: pageReadings }
      const page = await this.#retry(() => from.scan(query))
      all.push(...page)
      const last = page.at(-1)
      if (page.length < pageReadings || last === undefined) return all
      start = last.time + 1n
    }
  }

  async #writeSlice(deviceId: number, end: bigint, readings: readonly StoredReading[]): Promise<void> {
    const { done, keptFrom } = this.#options
    const oldest = keptFrom()
    const kept = readings.filter(({ time }) => time >= oldest)
    this.#tooOld += readings.length - kept.length
    await this.#write(deviceId, kept)
    done.set(deviceId, end)
    this.#report({ readings: this.#progress.readings + readings.length })
  }

  /** Resolves when every reading is durable or refused. */
  async #write(deviceId: number, readings: readonly StoredReading[]): Promise<void> {
    let left = readings
    await this.#retry(async () => {
      const result = await this.#writeOnce(deviceId, left)
      left = result.left
      if (left.length > 0) throw result.error
    })
  }

  /** Writes the readings as one batch. */
  async #writeOnce(deviceId: number, readings: readonly StoredReading[]): Promise<WriteResult> {
    const outcomes = await this.#options.to.write(
      readings.map(({ deviceType, location, receivedAt, ...reading }) => ({
        deviceId,
        deviceType,
        location,
        receivedAt,
        readings: [reading],
      })),
    )
    const left: StoredReading[] = []
    let error: unknown
    for (const [at, reading] of readings.entries()) {
      const outcome = outcomes[at]
      if (outcome === undefined || 'unavailable' in outcome) {
        left.push(reading)
        error ??= outcome?.unavailable
      } else if (outcome.refused.length > 0) this.#refused.push({ deviceId, time: reading.time })
    }
    return { left, error }
  }
}

/**
 * Copies until every reading is durable in the destination, or until the signal.
 * @throws {AppError} UNAVAILABLE when a store stays unavailable; `done` tells what is copied until then.
 */
export const copyReadings = (options: CopyOptions): Promise<Copied> => new CopyRun(options).run()
