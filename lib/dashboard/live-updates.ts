/**
 * Live updates for dashboards: the overview, device events, and the readings of one device, to all open streams. Nothing is
 * computed and no reading is looked at while nobody listens.
 */

import type { Devices } from '../devices/devices.ts'
import type { FleetEvent } from '../devices/events.ts'
import { AppError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Outcome } from '../telemetry/delivery.ts'
import type { ArrivedDelivery, BatchObserver } from '../telemetry/intake/batch-observer.ts'
import type { Reading } from '../telemetry/reading.ts'
import { formatTime } from '../telemetry/time.ts'
import { EventStream, overviewFrame, type StreamMessage, streamMessage } from './event-stream.ts'
import { fleetEventView, type Overview } from './overview.ts'

/** Services are asked for when the first stream opens. */
export interface LiveUpdatesOptions {
  readonly overview: () => Promise<Pick<Overview, 'read' | 'readAfterAlert'>>
  readonly devices: () => Promise<Pick<Devices, 'eventsAfter' | 'newestEvents' | 'newestEventId'>>
  readonly log: () => Pick<Log, 'warn'>
}

/** Streams that may be open at once. */
const maxStreams = 20
/** Interval at which device events and alerts are looked for, ms. */
const lookEveryMs = 1000
/** Every second look sends an overview, whatever has happened. */
const overviewEveryLooks = 2
/** Interval at which the readings that have come are sent, ms. */
const readingsEveryMs = 200
const keepAliveEveryMs = 15_000
/** A stream ends after this time, and its reader has to show the admin token again, ms. */
const longestMs = 3_600_000
/** Events that are read at once, and that a reader gets who comes again. */
const maxEvents = 200
/** Readings of one device that wait to be sent, and their characters; of more, the newest. */
const maxReadings = 200
const maxCharacters = 256 * 1024

/** An estimate of the JSON text of a reading. */
const charactersOf = ({ fields }: Reading): number => {
  let characters = 0
  for (const name in fields) {
    const value = fields[name]
    characters += name.length + (typeof value === 'string' ? value.length : 10)
  }
  return characters
}

const eventMessage = (event: FleetEvent): StreamMessage => streamMessage('event', fleetEventView(event))

const readingMessage = (deviceId: number, { time, fields }: Reading): StreamMessage =>
  streamMessage('reading', { device_id: deviceId, timestamp: formatTime(time), data: fields })

/** Readings of a device that somebody watches, until they are sent. */
class Watched {
  streams = 0
  #readings: Reading[] = []
  #characters = 0
  #skipped = 0

  add(readings: readonly Reading[]): void {
    for (const reading of readings) {
      this.#readings.push(reading)
      this.#characters += charactersOf(reading)
      while (this.#readings.length > maxReadings || this.#characters > maxCharacters) {
        const oldest = this.#readings.shift()
        if (oldest === undefined) break
        this.#characters -= charactersOf(oldest)
        this.#skipped += 1
      }
    }
  }

  take(): { readings: readonly Reading[]; skipped: number } {
    const taken = { readings: this.#readings, skipped: this.#skipped }
    this.#readings = []
    this.#characters = 0
    this.#skipped = 0
    return taken
  }
}

export interface StreamRequest {
  /** Sends the readings of this device, too. */
  readonly deviceId?: number | undefined
  /** The newest event that the reader knows; undefined for none. */
  readonly lastEventId?: number | undefined
}

export class LiveUpdates implements BatchObserver {
  readonly #options: LiveUpdatesOptions
  readonly #streams = new Map<EventStream, NodeJS.Timeout>()
  readonly #watched = new Map<number, Watched>()
  #timers: NodeJS.Timeout[] = []
  #looks = 0
  #opening = 0
  #closed = false
  /** The newest event that was handed to the streams. */
  #lastId = 0
  #reading: Promise<void> | undefined

  constructor(options: LiveUpdatesOptions) {
    this.#options = options
  }

  /** Streams that are open. */
  get count(): number {
    return this.#streams.size
  }

  /**
   * Opens a stream, which begins with the events that the reader does not know yet, and the overview.
   * @throws {AppError} UNAVAILABLE when too many are open, or the server ends.
   */
  async open({ deviceId, lastEventId }: StreamRequest): Promise<EventStream['body']> {
    if (this.#closed || this.#streams.size + this.#opening >= maxStreams)
      throw new AppError('UNAVAILABLE', 'Too many dashboards are open.', { retryAfterS: 10 })
    this.#opening += 1
    try {
      if (this.#streams.size > 0) await this.#sendEvents()
      else this.#lastId = await (await this.#options.devices()).newestEventId()
      const lastId = Math.min(lastEventId ?? this.#lastId, this.#lastId)
      const stream = new EventStream({ deviceId, lastId, ended: (one) => this.#remove(one) })
      // Other streams may get further events meanwhile.
      for (let known = lastId; known < this.#lastId; ) known = await this.#catchUp(stream, known)
      if (this.#closed) throw new AppError('UNAVAILABLE', 'The server ends.', { retryAfterS: 10 })
      this.#add(stream)
      await this.#sendOverview([stream])
      return stream.body
    } finally {
      this.#opening -= 1
    }
  }

  batchEnded(batch: readonly ArrivedDelivery[], outcomes: readonly (Outcome | AppError)[]): void {
    if (this.#watched.size === 0) return
    for (const [at, outcome] of outcomes.entries()) {
      const { delivery } = batch[at] as ArrivedDelivery
      const watched = this.#watched.get(delivery.deviceId)
      // Which of several readings are duplicates is not known: the same reading twice does no harm.
      if (watched === undefined || outcome instanceof AppError || outcome.stored === 0) continue
      watched.add(delivery.readings)
    }
  }

  /** Ends every stream. */
  close(): void {
    this.#closed = true
    for (const stream of [...this.#streams.keys()]) this.#end(stream)
  }

  #add(stream: EventStream): void {
    const timer = setTimeout(() => this.#end(stream), longestMs)
    timer.unref()
    this.#streams.set(stream, timer)
    const { deviceId } = stream
    if (deviceId !== undefined) {
      const watched = this.#watched.get(deviceId) ?? new Watched()
      watched.streams += 1
      this.#watched.set(deviceId, watched)
    }
    if (this.#timers.length > 0) return
    const every = (ms: number, work: () => unknown) => setInterval(work, ms).unref()
    this.#timers = [
      every(lookEveryMs, () => this.#look()),
      every(readingsEveryMs, () => this.#sendReadings()),
      every(keepAliveEveryMs, () => {
        for (const one of this.#streams.keys()) one.keepAlive()
      }),
    ]
  }

  #end(stream: EventStream): void {
    this.#remove(stream)
    stream.close()
  }

  #remove(stream: EventStream): void {
    clearTimeout(this.#streams.get(stream))
    if (!this.#streams.delete(stream)) return
    const { deviceId } = stream
    const watched = deviceId === undefined ? undefined : this.#watched.get(deviceId)
    if (deviceId !== undefined && watched !== undefined) {
      watched.streams -= 1
      if (watched.streams === 0) this.#watched.delete(deviceId)
    }
    if (this.#streams.size > 0) return
    for (const timer of this.#timers) clearInterval(timer)
    this.#timers = []
  }

  /** Sends the events that a reader has missed: of many, the newest. @returns the id up to which it knows them now. */
  async #catchUp(stream: EventStream, from: number): Promise<number> {
    const newest = this.#lastId
    const events = await (await this.#options.devices()).newestEvents(maxEvents)
    const missed = events.filter(({ id }) => id > from && id <= newest).reverse()
    if (missed.length === maxEvents) stream.noteSkipped('event', newest - from - maxEvents)
    for (const event of missed) stream.push(eventMessage(event), event.id)
    return newest
  }

  #look(): void {
    this.#looks += 1
    void this.#sendEvents()
    const isDue = this.#looks % overviewEveryLooks === 0
    void this.#sendOverview(this.#streams.keys(), isDue ? 'read' : 'readAfterAlert')
  }

  async #sendOverview(
    streams: Iterable<EventStream>,
    how: 'read' | 'readAfterAlert' = 'read',
  ): Promise<void> {
    try {
      const read = await (await this.#options.overview())[how]()
      if (read === undefined) return
      const frame = overviewFrame(read)
      for (const stream of streams) stream.pushOverview(frame)
    } catch (error) {
      this.#options.log().warn('the overview of the dashboards could not be read', { error })
    }
  }

  #sendEvents(): Promise<void> {
    this.#reading ??= this.#readEvents()
      .catch((error: unknown) =>
        this.#options.log().warn('events for the dashboards could not be read', { error }),
      )
      .finally(() => {
        this.#reading = undefined
      })
    return this.#reading
  }

  async #readEvents(): Promise<void> {
    const devices = await this.#options.devices()
    const events = await devices.eventsAfter(this.#lastId, maxEvents)
    for (const event of events) {
      this.#lastId = event.id
      const message = eventMessage(event)
      for (const stream of this.#streams.keys()) stream.push(message, event.id)
    }
    if (events.length < maxEvents) return
    // More than can be shown: without this, the streams would be late for as long as so many come.
    const newest = await devices.newestEventId()
    const left = newest - this.#lastId
    if (left <= 0) return
    this.#lastId = newest
    for (const stream of this.#streams.keys()) stream.noteSkipped('event', left)
  }

  #sendReadings(): void {
    for (const [deviceId, watched] of this.#watched) {
      const { readings, skipped } = watched.take()
      if (readings.length + skipped === 0) continue
      const messages = readings.map((reading) => readingMessage(deviceId, reading))
      for (const stream of this.#streams.keys()) {
        if (stream.deviceId !== deviceId) continue
        if (skipped > 0) stream.noteSkipped('reading', skipped)
        for (const message of messages) stream.push(message)
      }
    }
  }
}
