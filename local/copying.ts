/**
 * Readings from one store to another, each with its time, values, metadata, tags and arrival as they were: device by device,
 * slice by slice from the oldest on, so that a copy that was broken off is taken up where it ended.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { AppError } from '../lib/errors.ts'
import type { StoredReading, TelemetryStore, TimeRange } from '../lib/telemetry/store.ts'

export interface CopyProgress {
  readonly phase: 'counting' | 'copying' | 'comparing' | 'waiting'
  /** Of the devices, counted from 1. */
  readonly device: number
  readonly devices: number
  /** Copied since the start, or compared. */
  readonly readings: number
  /** To copy from the start on, as far as they are counted. */
  readonly total: number
}

/** The first time of each device that has not been copied yet. */
export type Done = Map<number, bigint>

export interface CopyOptions {
  readonly from: TelemetryStore
  readonly to: TelemetryStore
  /** Undefined: all. */
  readonly devices: readonly number[] | undefined
  readonly range: TimeRange
  /** What earlier runs have copied; what this one copies is added, when it is durable. */
  readonly done: Done
  /** Readings before it are not kept there, ns since the epoch: they are left out. */
  readonly keptFrom: () => bigint
  readonly onProgress: (progress: CopyProgress) => void
  readonly signal: AbortSignal
  /** How often a store that is away is tried, and how long it is waited for at most before a try, ms. */
  readonly patience?: { readonly tries: number; readonly longestMs: number }
}

export interface Refused {
  readonly deviceId: number
  readonly time: bigint
}

export interface Copied {
  readonly readings: number
  readonly devices: number
  /** Older than the destination keeps. */
  readonly tooOld: number
  readonly refused: readonly Refused[]
  /** True when the signal ended it. */
  readonly interrupted: boolean
}

/** A part of a device's readings that has not as many on the other side. */
export interface Difference extends TimeRange {
  readonly deviceId: number
  readonly source: number
  readonly destination: number
}

export interface Compared {
  /** Where the destination has fewer. */
  readonly missing: readonly Difference[]
  /** Readings that came to the source after its end was read. */
  readonly since: number
}

/** What a slice shall weigh: enough to be fast, little enough for the memory and for what a store holds at once. */
const sliceBytes = 4_000_000
const mostReadings = 2000
/** Readings that are compared by one count. */
const comparedAtOnce = 20_000

const isAway = (error: unknown): error is AppError =>
  error instanceof AppError && error.code === 'UNAVAILABLE'

const bytesOf = ({ fields, metadata }: StoredReading) =>
  JSON.stringify(fields).length + (metadata ? JSON.stringify(metadata).length : 0) + 64

const later = (one: bigint, other: bigint) => (one > other ? one : other)
const earlier = (one: bigint, other: bigint) => (one < other ? one : other)

/**
 * Parts of a range, from the oldest on, with at most as many readings each; those without any are left out.
 * @param most asked anew for each part.
 */
async function* slicesOf(
  count: (range: TimeRange) => Promise<number>,
  range: TimeRange,
  most: () => number,
): AsyncGenerator<TimeRange & { readonly count: number }> {
  const open = [{ ...range, count: await count(range) }]
  for (let part = open.pop(); part !== undefined; part = open.pop()) {
    if (part.count === 0) continue
    if (part.count <= most() || part.to - part.from <= 1n) {
      yield part
      continue
    }
    const middle = part.from + (part.to - part.from) / 2n
    const [older, newer] = [
      { from: part.from, to: middle },
      { from: middle, to: part.to },
    ]
    const inOlder = await count(older)
    // A store that is written to meanwhile may have more now than it had.
    const inNewer = part.count > inOlder ? part.count - inOlder : await count(newer)
    open.push({ ...newer, count: inNewer }, { ...older, count: inOlder })
  }
}

/** The range of a device that has readings, within another one; undefined when there are none. */
const extentOf = async (store: TelemetryStore, deviceId: number, range: TimeRange) => {
  const [first] = await store.scan({ deviceId, ...range, limit: 1 })
  if (first === undefined) return undefined
  const [last = first] = await store.history({
    deviceId,
    ...range,
    fields: undefined,
    limit: 1,
    order: 'desc',
  })
  return { from: first.time, to: last.time + 1n }
}

/** Tries again what a store that is away could not do. @throws {AppError} UNAVAILABLE when it stays away. */
const patient = ({ patience, onProgress, signal }: CopyOptions, last: () => CopyProgress) => {
  const { tries, longestMs } = patience ?? { tries: 30, longestMs: 30_000 }
  return async <T>(take: () => Promise<T>): Promise<T> => {
    for (let tried = 1; ; tried += 1) {
      try {
        return await take()
      } catch (error) {
        if (!isAway(error) || tried === tries || signal.aborted) throw error
        onProgress({ ...last(), phase: 'waiting' })
        const ms = Math.min(longestMs, Math.max((error.retryAfterS ?? 1) * 1000, 2 ** tried * 100))
        await sleep(ms, undefined, { signal }).catch(() => undefined)
      }
    }
  }
}

/**
 * Copies, and resolves when everything is durable there or the signal came.
 * @throws {AppError} UNAVAILABLE when a store stays away; what was copied until then is in `done`.
 */
export async function copyReadings(options: CopyOptions): Promise<Copied> {
  const { from, to, range, done, keptFrom, onProgress, signal } = options
  let progress: CopyProgress = { phase: 'counting', device: 0, devices: 0, readings: 0, total: 0 }
  const tell = (more: Partial<CopyProgress>) => {
    progress = { ...progress, ...more }
    onProgress(progress)
  }
  const insist = patient(options, () => progress)
  const refused: Refused[] = []
  let tooOld = 0
  let size = 200

  const count = async (deviceId: number, part: TimeRange): Promise<number> =>
    part.from < part.to ? insist(() => from.count(deviceId, part)) : 0
  const startOf = (deviceId: number) => later(range.from, done.get(deviceId) ?? 0n)

  /** Resolves when all of them are durable or refused; the store groups what comes at once. */
  const write = async (deviceId: number, readings: readonly StoredReading[]): Promise<void> => {
    let left = readings
    await insist(async () => {
      const outcomes = await Promise.allSettled(
        left.map(({ deviceType, location, receivedAt, ...reading }) =>
          to.write({ deviceId, deviceType, location, receivedAt, readings: [reading] }),
        ),
      )
      const again: StoredReading[] = []
      let fault: unknown
      for (const [at, outcome] of outcomes.entries()) {
        const reading = left[at]
        if (outcome.status === 'fulfilled' || reading === undefined) continue
        if (outcome.reason instanceof AppError && outcome.reason.code === 'VALIDATION_FAILED')
          refused.push({ deviceId, time: reading.time })
        else {
          again.push(reading)
          fault ??= outcome.reason
        }
      }
      left = again
      if (left.length > 0) throw fault
    })
  }

  /** Reads a slice to its end: a store that is written to meanwhile may have more than were counted. */
  const read = async (deviceId: number, slice: TimeRange): Promise<StoredReading[]> => {
    const all: StoredReading[] = []
    for (let start = slice.from; ; ) {
      const limit = 10_000
      const page = await insist(() => from.scan({ deviceId, from: start, to: slice.to, limit }))
      all.push(...page)
      const last = page.at(-1)
      if (page.length < limit || last === undefined) return all
      start = last.time + 1n
    }
  }

  const copyDevice = async (deviceId: number): Promise<void> => {
    const ahead = { from: later(startOf(deviceId), keptFrom()), to: range.to }
    const extent = ahead.from < ahead.to ? await insist(() => extentOf(from, deviceId, ahead)) : undefined
    if (extent === undefined) return
    let writing: Promise<void> = Promise.resolve()
    try {
      for await (const slice of slicesOf(
        (part) => count(deviceId, part),
        extent,
        () => size,
      )) {
        if (signal.aborted) break
        const readings = await read(deviceId, slice)
        const bytes = readings.reduce((sum, reading) => sum + bytesOf(reading), 1)
        size = Math.max(
          1,
          Math.min(mostReadings, size * 4, Math.floor((readings.length * sliceBytes) / bytes)),
        )
        await writing
        const oldest = keptFrom()
        const kept = readings.filter(({ time }) => time >= oldest)
        tooOld += readings.length - kept.length
        // While this slice is written the next one is read.
        writing = write(deviceId, kept).then(() => {
          done.set(deviceId, slice.to)
          tell({ readings: progress.readings + readings.length })
        })
        writing.catch(() => undefined)
      }
    } finally {
      await writing
    }
    if (!signal.aborted) done.set(deviceId, extent.to)
  }

  const devices = options.devices ?? (await insist(() => from.devices()))
  tell({ devices: devices.length })
  for (const [at, deviceId] of devices.entries()) {
    if (signal.aborted) break
    const [start, oldest] = [startOf(deviceId), keptFrom()]
    tooOld += await count(deviceId, { from: start, to: earlier(oldest, range.to) })
    const ahead = await count(deviceId, { from: later(start, oldest), to: range.to })
    tell({ device: at + 1, total: progress.total + ahead })
  }
  tell({ phase: 'copying', device: 0 })
  for (const [at, deviceId] of devices.entries()) {
    if (signal.aborted) break
    tell({ phase: 'copying', device: at + 1 })
    await copyDevice(deviceId)
  }
  const { readings } = progress
  return { readings, devices: devices.length, tooOld, refused, interrupted: signal.aborted }
}

/** Compares by counts, device by device and part by part, what was copied until now. */
export async function compareReadings(options: CopyOptions): Promise<Compared> {
  const { from, to, range, done, keptFrom, onProgress } = options
  let progress: CopyProgress = { phase: 'comparing', device: 0, devices: 0, readings: 0, total: 0 }
  const insist = patient(options, () => progress)
  const missing: Difference[] = []
  let since = 0
  const devices = options.devices ?? (await insist(() => from.devices()))
  for (const [at, deviceId] of devices.entries()) {
    progress = { ...progress, device: at + 1, devices: devices.length }
    onProgress(progress)
    const end = earlier(range.to, done.get(deviceId) ?? range.from)
    const count = (part: TimeRange) => insist(() => from.count(deviceId, part))
    if (end < range.to) since += await count({ from: later(end, keptFrom()), to: range.to })
    const copied = { from: later(range.from, keptFrom()), to: end }
    const extent = copied.from < end ? await insist(() => extentOf(from, deviceId, copied)) : undefined
    if (extent === undefined) continue
    for await (const { from: start, to: stop } of slicesOf(count, extent, () => comparedAtOnce)) {
      const part = { from: later(start, keptFrom()), to: stop }
      if (part.from >= stop) continue
      const [source, destination] = [await count(part), await insist(() => to.count(deviceId, part))]
      progress = { ...progress, readings: progress.readings + source }
      onProgress(progress)
      if (destination < source) missing.push({ deviceId, ...part, source, destination })
    }
  }
  return { missing, since }
}
