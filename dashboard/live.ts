/**
 * Live updates: an event stream where the server has one, polling where it answers 404, 405 or 501. Pages use the signals and
 * listeners here and do not know which.
 */
import { effect, signal } from '@preact/signals'
import type { FleetEvent, Overview, Reading, StreamedReading } from './answers.ts'
import { credential, get } from './api.ts'
import { readEvents, type StreamEvent } from './event-stream.ts'
import { session } from './session.ts'

/** How current the page is. */
export type LiveState = 'connecting' | 'live' | 'polling' | 'offline'

const firstRetryMs = 1000
const longestRetryMs = 30_000
/** The stream sends something at least this often, or it counts as broken, ms. */
const silenceMs = 45_000
const pollMs = 5000
const pollDeviceMs = 3000

type Listener<T> = (value: T) => void

const sleep = (ms: number, signal: AbortSignal) =>
  new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, ms)
    signal.addEventListener('abort', () => {
      clearTimeout(timer)
      resolve()
    })
  })

class Live {
  readonly state = signal<LiveState>('connecting')
  /** The newest overview; undefined until the first one has come. */
  readonly overview = signal<Overview | undefined>(undefined)
  /** Raised when the server has left messages out, because this page did not read them in time. */
  readonly skipped = signal(0)
  /** Set once the server has said that it has no stream. */
  #streamMissing = false
  #lastId: string | undefined
  #running: AbortController | undefined
  #deviceId: number | undefined
  readonly #events = new Set<Listener<FleetEvent>>()
  readonly #readings = new Set<Listener<Reading>>()
  #newestEvent = 0

  /** Follows the session and the visibility of the tab: a hidden tab costs the server nothing. */
  start(): void {
    effect(() => {
      if (session.token.value === undefined) {
        this.#stop()
        this.overview.value = undefined
        this.#lastId = undefined
        this.#newestEvent = 0
      } else this.#restart()
    })
    document.addEventListener('visibilitychange', () => {
      if (document.hidden) this.#stop()
      else if (session.token.peek() !== undefined && this.#running === undefined) this.#restart()
    })
  }

  /** Calls back for each event of any device. @returns a function that ends it. */
  onEvent(listener: Listener<FleetEvent>): () => void {
    this.#events.add(listener)
    return () => void this.#events.delete(listener)
  }

  /** Calls back for each new reading of a device; one device at a time. @returns a function that ends it. */
  watchDevice(deviceId: number, listener: Listener<Reading>): () => void {
    this.#readings.add(listener)
    if (this.#deviceId !== deviceId) {
      this.#deviceId = deviceId
      this.#restart()
    }
    return () => {
      this.#readings.delete(listener)
      if (this.#deviceId !== deviceId || this.#readings.size > 0) return
      this.#deviceId = undefined
      this.#restart()
    }
  }

  /** Asks for a new overview now, after a change that the user made. */
  async refresh(): Promise<void> {
    const answer = await get<Overview>('admin/dashboard')
    if (answer.ok) this.#takeOverview(answer.value)
    else if (answer.error.status !== 401 && this.state.peek() === 'connecting') this.state.value = 'offline'
  }

  #stop(): void {
    this.#running?.abort()
    this.#running = undefined
  }

  #restart(): void {
    this.#stop()
    if (document.hidden || session.token.peek() === undefined) return
    const running = new AbortController()
    this.#running = running
    void this.#run(running.signal)
  }

  async #run(signal: AbortSignal): Promise<void> {
    let wait = firstRetryMs
    // The first picture does not wait for the stream, which a proxy may hold back.
    if (this.overview.peek() === undefined) void this.refresh()
    while (!signal.aborted) {
      if (this.#streamMissing) return this.#poll(signal)
      const worked = await this.#stream(signal)
      if (signal.aborted || this.#streamMissing) continue
      if (worked) wait = firstRetryMs
      this.state.value = 'offline'
      // Spread out: after a restart of the server all tabs come back at once.
      await sleep(wait * (0.5 + Math.random() / 2), signal)
      wait = Math.min(wait * 2, longestRetryMs)
    }
  }

  /** @returns whether anything came. */
  async #stream(signal: AbortSignal): Promise<boolean> {
    const broken = new AbortController()
    const end = () => broken.abort()
    signal.addEventListener('abort', end)
    let silence = setTimeout(end, silenceMs)
    let worked = false
    try {
      const device = this.#deviceId === undefined ? '' : `?device_id=${this.#deviceId}`
      const response = await fetch(`api/v1/admin/stream${device}`, {
        headers: {
          ...credential(),
          Accept: 'text/event-stream',
          ...(this.#lastId === undefined ? {} : { 'Last-Event-ID': this.#lastId }),
        },
        signal: broken.signal,
        credentials: 'omit',
        cache: 'no-store',
      })
      if ([404, 405, 501].includes(response.status)) this.#streamMissing = true
      if (response.status === 401) session.end('expired')
      if (!response.ok || response.body === null) return false
      this.state.value = 'live'
      await readEvents(
        response.body,
        (event) => {
          worked = true
          this.#take(event)
        },
        () => {
          clearTimeout(silence)
          silence = setTimeout(end, silenceMs)
        },
      )
    } catch {
      // The connection broke: the caller tries again.
    } finally {
      clearTimeout(silence)
      signal.removeEventListener('abort', end)
      broken.abort()
    }
    return worked
  }

  #take({ type, data, id }: StreamEvent): void {
    if (id !== undefined) this.#lastId = id
    const value = JSON.parse(data) as unknown
    if (type === 'overview') this.#takeOverview(value as Overview)
    else if (type === 'event') this.#takeEvent(value as FleetEvent)
    else if (type === 'reading') this.#takeReading(value as StreamedReading)
    else if (type === 'skipped') this.skipped.value += 1
  }

  #takeOverview(overview: Overview): void {
    this.overview.value = overview
    const { events } = overview
    // With a stream each event comes by itself; without one the list tells which are new.
    if (this.#streamMissing && this.#newestEvent > 0)
      for (const event of [...events].reverse()) if (event.id > this.#newestEvent) this.#takeEvent(event)
    this.#newestEvent = Math.max(this.#newestEvent, ...events.map(({ id }) => id))
  }

  #takeReading({ device_id: deviceId, timestamp, data }: StreamedReading): void {
    if (deviceId !== this.#deviceId) return
    for (const listener of this.#readings) listener({ timestamp, ...data })
  }

  #takeEvent(event: FleetEvent): void {
    this.#newestEvent = Math.max(this.#newestEvent, event.id)
    for (const listener of this.#events) listener(event)
  }

  async #poll(signal: AbortSignal): Promise<void> {
    const deviceId = this.#deviceId
    if (deviceId !== undefined) void this.#pollDevice(deviceId, signal)
    while (!signal.aborted) {
      const answer = await get<Overview>('admin/dashboard', undefined, { signal })
      if (signal.aborted) return
      this.state.value = answer.ok ? 'polling' : 'offline'
      if (answer.ok) this.#takeOverview(answer.value)
      const wait = answer.ok ? 0 : (answer.error.retryAfterS ?? 0) * 1000
      await sleep(Math.max(pollMs, wait), signal)
    }
  }

  async #pollDevice(deviceId: number, signal: AbortSignal): Promise<void> {
    let newest: string | undefined
    while (!signal.aborted) {
      // A list and not the latest reading: the browser reports a 404 as an error, and a new device has none yet.
      const query = { limit: 1, start_time: '-1h' }
      const answer = await get<{ data: readonly Reading[] }>(`telemetry/${deviceId}`, query, { signal })
      if (signal.aborted) return
      const reading = answer.ok ? answer.value.data[0] : undefined
      if (reading !== undefined && reading.timestamp !== newest) {
        newest = reading.timestamp
        for (const listener of this.#readings) listener(reading)
      }
      await sleep(pollDeviceMs, signal)
    }
  }
}

export const live = new Live()
