/** Counts readings by the minute of their arrival, for the last hour, in memory. */
import { AppError } from '../errors.ts'
import type { Outcome } from '../telemetry/delivery.ts'
import { type ArrivedDelivery, type BatchObserver, rejectedOf } from '../telemetry/intake/batch-observer.ts'

/** Readings of one minute, by what became of them. */
export interface MinuteCount {
  /** Begin of the minute, ms since the epoch. */
  readonly at: number
  readonly stored: number
  readonly spooled: number
  readonly rejected: number
}

const minuteMs = 60_000
/** Minutes that are kept, the current one included. */
export const keptMinutes = 60

export class MinuteCounts implements BatchObserver {
  readonly #now: () => number
  readonly #minutes: { -readonly [K in keyof MinuteCount]: MinuteCount[K] }[] = []

  /** When this process began to count, ms since the epoch. */
  readonly since: number

  /** @param now milliseconds since the epoch. */
  constructor(now: () => number = Date.now) {
    this.#now = now
    this.since = now()
  }

  /** Begin of the oldest minute that is kept, ms since the epoch. */
  get from(): number {
    return (Math.floor(this.#now() / minuteMs) - keptMinutes + 1) * minuteMs
  }

  batchEnded(batch: readonly ArrivedDelivery[], outcomes: readonly (Outcome | AppError)[]): void {
    let [stored, spooled, rejected] = [0, 0, 0]
    for (const [at, outcome] of outcomes.entries()) {
      const { delivery } = batch[at] as ArrivedDelivery
      if (outcome instanceof AppError) continue
      stored += outcome.stored
      spooled += outcome.queued
      rejected += rejectedOf(delivery, outcome)
    }
    const minute = this.#current()
    minute.stored += stored
    minute.spooled += spooled
    minute.rejected += rejected
  }

  /** Adds readings that were stored before this process began to count. @param at ms since the epoch. */
  addEarlier(at: number, stored: number): void {
    if (at >= this.from) this.#minuteOf(Math.floor(at / minuteMs)).stored += stored
  }

  /** The last hour, the oldest minute first; 60 minutes, also those without a reading. */
  list(): MinuteCount[] {
    const last = Math.floor(this.#now() / minuteMs)
    return Array.from({ length: keptMinutes }, (_, place) => {
      const minute = last - keptMinutes + 1 + place
      const at = minute * minuteMs
      const known = this.#minutes[minute % keptMinutes]
      return known?.at === at ? { ...known } : { at, stored: 0, spooled: 0, rejected: 0 }
    })
  }

  #current() {
    return this.#minuteOf(Math.floor(this.#now() / minuteMs))
  }

  /** @param minute since the epoch. */
  #minuteOf(minute: number) {
    const [place, at] = [minute % keptMinutes, minute * minuteMs]
    const known = this.#minutes[place]
    if (known?.at === at) return known
    const fresh = { at, stored: 0, spooled: 0, rejected: 0 }
    this.#minutes[place] = fresh
    return fresh
  }
}
