/** Arrival times of messages, and what is known of wrong times of this server's own clock. */

/** A step of the clock that was no passing of time. */
export interface ClockJump {
  /** Milliseconds; negative for a step back. */
  readonly by: number
  /** When it was noticed, by the clock after the step, milliseconds since the epoch. */
  readonly at: number
}

/** Steps back up to this size do not show in arrival times, so that readings keep their order, ms. */
const smallStepMs = 1000
/** Differences that are taken for a jump, ms: the two clocks run apart by less. */
const jumpMs = 2000
/** How long a jump is told, ms. */
const toldMs = 3_600_000

export interface ArrivalClockOptions {
  /** Milliseconds since the epoch. */
  readonly now?: (() => number) | undefined
  /** Milliseconds of a clock that nobody sets. */
  readonly steady?: (() => number) | undefined
}

export class ArrivalClock {
  readonly #now: () => number
  readonly #steady: () => number
  #last = 0
  /** How far the clock was ahead of the steady one when they were last compared, ms. */
  #ahead: number
  #jump: (ClockJump & { readonly noticedAt: number }) | undefined

  constructor({ now = () => Date.now(), steady = () => performance.now() }: ArrivalClockOptions = {}) {
    this.#now = now
    this.#steady = steady
    this.#ahead = now() - steady()
  }

  /**
   * The time of arrival of a message that comes now, milliseconds since the epoch. After the clock was set, it is the new time at
   * once: digits below the millisecond tell the readings apart that come in one millisecond.
   */
  next(): number {
    const at = this.#now()
    if (at < this.#last && this.#last - at <= smallStepMs) return this.#last
    if (at < this.#last) this.#compare()
    this.#last = at
    return at
  }

  /** The last jump of the clock, for an hour. A computer that slept looks like a clock that was set forward. */
  get jump(): ClockJump | undefined {
    this.#compare()
    const { noticedAt = 0, ...jump } = this.#jump ?? {}
    return this.#jump !== undefined && this.#steady() - noticedAt < toldMs ? (jump as ClockJump) : undefined
  }

  #compare(): void {
    const [at, steady] = [this.#now(), this.#steady()]
    const by = Math.round(at - steady - this.#ahead)
    this.#ahead = at - steady
    if (Math.abs(by) >= jumpMs) this.#jump = { by, at, noticedAt: steady }
  }
}
