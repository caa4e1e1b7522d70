/** What a chart of one device shows: asks for its points, follows live readings, and says when something has changed. */
import { signal } from '@preact/signals'
import { type ApiError, get, type Result } from '../api.ts'
import {
  isMoving,
  mayBeRaw,
  mostReadings,
  partsOf,
  type Range,
  type Span,
  spanOf,
  type Window,
  windowFor,
} from './range.ts'
import { type Row, Table } from './table.ts'

export const aggregations = ['mean', 'min', 'max', 'last'] as const
export type Aggregation = (typeof aggregations)[number]

export interface Request {
  readonly deviceId: number
  readonly range: Range
  /** Width of the plot. */
  readonly pixels: number
  readonly aggregation: Aggregation
  /** Fields to read; undefined reads every number that the device sends, which one request can do. */
  readonly fields: readonly string[] | undefined
}

interface Answer {
  readonly data: readonly Row[]
  readonly next_cursor?: string
}

/** Time between two requests for the newest windows, ms. */
const shortestPause = 5000
const longestPause = 60_000
/** A clock that differs less is taken as right, ms. */
const clockTolerance = 3000

const isoTime = (ms: number) => new Date(ms).toISOString()

export class ChartModel {
  /** Raised with every change of the points. */
  readonly version = signal(0)
  readonly loading = signal(false)
  readonly error = signal<ApiError | undefined>(undefined)
  /** The windows that the points stand for; undefined when they are readings. */
  readonly window = signal<Window | undefined>(undefined)
  table = new Table()
  #request: Request | undefined
  #abort: AbortController | undefined
  /** By how much the clock of the server is ahead, ms. */
  #clockAhead = 0
  #isBehind = false
  #timer: ReturnType<typeof setTimeout> | undefined

  /** The time at the server, ms since the epoch. */
  now(): number {
    return Date.now() + this.#clockAhead
  }

  /** The span that the chart shows now. */
  span(): Span {
    return spanOf(this.#request?.range ?? { lastMs: 3_600_000 }, this.now())
  }

  /** Replaces all points. A later call ends an earlier one. */
  async load(request: Request): Promise<void> {
    this.close()
    const abort = new AbortController()
    this.#abort = abort
    this.#request = request
    this.loading.value = true
    const table = new Table()
    const error = await this.#fill(table, request, abort.signal)
    if (abort.signal.aborted) return
    this.loading.value = false
    this.error.value = error
  }

  /** Adds a reading that has just arrived. @param exact false when it only tells that there is something new. */
  addReading(reading: Row, exact: boolean): void {
    const request = this.#request
    if (request === undefined || !isMoving(request.range) || this.loading.peek()) return
    if (!exact || this.window.peek() !== undefined) {
      this.refresh()
      return
    }
    this.table.add([reading])
    if (this.table.size > mostReadings) void this.load(request)
    else this.#changed()
  }

  /** Ends what is under way. */
  close(): void {
    this.#abort?.abort()
    this.#abort = undefined
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#isBehind = false
  }

  #changed(): void {
    const { from, to } = this.span()
    this.table.dropBefore(from - (to - from) / 20)
    this.version.value += 1
  }

  /** @returns what went wrong. */
  async #fill(table: Table, request: Request, abort: AbortSignal): Promise<ApiError | undefined> {
    const span = this.span()
    if (mayBeRaw(span)) {
      const raw = await this.#readRaw(request, span.from, abort)
      if (!raw.ok) return raw.error
      if (raw.value.next_cursor === undefined) {
        table.add(raw.value.data)
        this.#show(table, undefined)
        return undefined
      }
    }
    const window = windowFor(span, request.pixels)
    for (const [at, part] of partsOf(span, window.ms).entries()) {
      const error = await this.#readWindows(table, request, part, window, at === 0, abort)
      if (abort.aborted) return undefined
      if (error !== undefined) return error
      this.#show(table, window)
    }
    return undefined
  }

  #show(table: Table, window: Window | undefined): void {
    this.table = table
    this.window.value = window
    this.error.value = undefined
    this.version.value += 1
  }

  #readRaw({ deviceId, range, fields }: Request, from: number, signal: AbortSignal): Promise<Result<Answer>> {
    return this.#ask(
      `telemetry/${deviceId}`,
      {
        start_time: isoTime(from),
        ...(isMoving(range) ? {} : { end_time: isoTime(range.to) }),
        ...(fields === undefined ? {} : { fields: fields.join(',') }),
        limit: mostReadings,
      },
      signal,
    )
  }

  /** @param open whether the part reaches to the newest reading. @returns what went wrong. */
  async #readWindows(
    table: Table,
    { deviceId, range, fields = ['*'], aggregation }: Request,
    { from, to }: Span,
    window: Window,
    open: boolean,
    signal: AbortSignal,
  ): Promise<ApiError | undefined> {
    const answers = await Promise.all(
      fields.map(async (field) => {
        const answer = await this.#ask(
          `telemetry/${deviceId}/aggregated`,
          {
            field,
            aggregation,
            window: window.name,
            start_time: isoTime(from),
            ...(open && isMoving(range) ? {} : { end_time: isoTime(to) }),
          },
          signal,
        )
        if (answer.ok && !signal.aborted) table.add(answer.value.data, field === '*' ? undefined : field)
        return answer
      }),
    )
    const failed = answers.find((answer) => !answer.ok)
    return failed?.ok === false ? failed.error : undefined
  }

  async #ask(
    path: string,
    query: Record<string, string | number>,
    signal: AbortSignal,
  ): Promise<Result<Answer>> {
    const answer = await get<Answer>(path, query, { signal })
    const date = answer.ok ? Date.parse(answer.headers.get('date') ?? '') : Number.NaN
    const ahead = date - Date.now()
    if (!Number.isNaN(date)) this.#clockAhead = Math.abs(ahead) > clockTolerance ? ahead : 0
    return answer
  }

  /** Reads the newest points in a while: there may be some that nobody has told of. */
  refresh(): void {
    const request = this.#request
    if (request === undefined || !isMoving(request.range)) return
    this.#isBehind = true
    if (this.#timer !== undefined) return
    const pause = Math.min(longestPause, Math.max(shortestPause, (this.window.peek()?.ms ?? 0) / 4))
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      if (this.#isBehind) void this.#readTail()
    }, pause)
  }

  async #readTail(): Promise<void> {
    const { table } = this
    const [request, signal, window] = [this.#request, this.#abort?.signal, this.window.peek()]
    if (request === undefined || signal === undefined) return
    this.#isBehind = false
    const { from, to } = this.span()
    const newest = Math.max(from, table.newest)
    let error: ApiError | undefined
    if (window === undefined) {
      const raw = await this.#readRaw(request, newest, signal)
      if (raw.ok) table.add(raw.value.data)
      else error = raw.error
    } else {
      // The newest window was not over when it was read, and late readings may change the one before.
      const part = { from: Math.floor(newest / window.ms - 1) * window.ms, to }
      error = await this.#readWindows(table, request, part, window, true, signal)
    }
    if (signal.aborted || table !== this.table) return
    this.error.value = error
    if (error === undefined) this.#changed()
  }
}
