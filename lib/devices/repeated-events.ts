/** Events that may come with every message: gathered in memory and written together every few seconds. */
import type { Log } from '../log.ts'
import type { RegistryDb } from '../registry/db.ts'
import { countEvents, maxPaths, type RepeatedEvent } from './events.ts'

export interface RepeatedEventsOptions {
  readonly db: RegistryDb
  readonly log: Log
  /** Milliseconds since the epoch. */
  readonly now: () => number
  /** Time between two writes, ms. */
  readonly flushEveryMs: number
  /** Writes also between requests; false where the process stands still then. */
  readonly background: boolean
}

/** One event to count, or several at once. {@link RepeatedEvents} adds the times. */
export type Repetition = Omit<RepeatedEvent, 'at' | 'lastAt' | 'count'> & { readonly count?: number }

/** Rows that wait at most; events of further rows are only counted in the log. */
const maxWaiting = 2000

type Waiting = { -readonly [K in keyof RepeatedEvent]: RepeatedEvent[K] } & { readonly paths: Set<string> }

export class RepeatedEvents {
  readonly #options: RepeatedEventsOptions
  readonly #timer: NodeJS.Timeout | undefined
  #waiting = new Map<string, Waiting>()
  #lost = 0
  #writing: Promise<void> = Promise.resolve()

  constructor(options: RepeatedEventsOptions) {
    this.#options = options
    if (!options.background) return
    this.#timer = setInterval(() => void this.flush(), options.flushEveryMs)
    this.#timer.unref()
  }

  /** Counts an event; it is written within `flushEveryMs`. */
  note({ deviceId, kind, key, detail, count = 1 }: Repetition): void {
    const id = `${deviceId} ${kind} ${key}`
    const at = this.#options.now()
    const { paths = [], ...others } = detail
    const known = this.#waiting.get(id)
    if (known === undefined && this.#waiting.size >= maxWaiting) {
      this.#lost += count
      return
    }
    const row = known ?? { deviceId, kind, key, at, lastAt: at, count: 0, detail: others, paths: new Set() }
    if (known === undefined) this.#waiting.set(id, row)
    row.lastAt = at
    row.count += count
    row.detail = others
    for (const path of paths) if (row.paths.size < maxPaths) row.paths.add(path)
  }

  /** Writes what waits. Never rejects: events that cannot be written are lost, and the log says so. */
  flush(): Promise<void> {
    this.#writing = this.#writing.then(() => this.#write())
    return this.#writing
  }

  /** Writes what waits and ends. */
  close(): Promise<void> {
    clearInterval(this.#timer)
    return this.flush()
  }

  async #write(): Promise<void> {
    if (this.#waiting.size === 0) return
    const { db, log } = this.#options
    const rows = [...this.#waiting.values()].map(({ paths, detail, ...row }) => ({
      ...row,
      detail: paths.size === 0 ? detail : { ...detail, paths: [...paths] },
    }))
    this.#waiting = new Map()
    if (this.#lost > 0) log.warn('events of devices were not kept: too many at once', { events: this.#lost })
    this.#lost = 0
    await countEvents(db, rows).catch((error: unknown) =>
      log.warn('events of devices could not be written', { events: rows.length, error }),
    )
  }
}
