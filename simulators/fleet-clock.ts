/** The clock of the devices: the time of this computer, or a time of its own that goes as fast. */

export class FleetClock {
  readonly #startAt: number | undefined
  readonly #offsetMs = Date.now() - performance.now()
  #beganMs: number | undefined

  /** @param startAt what it shows until it begins, ms since the epoch; undefined: the time of this computer. */
  constructor(startAt?: number) {
    this.#startAt = startAt
  }

  /** Starts a clock that has a time of its own. @param ms of `performance.now()`. */
  begin(ms: number): void {
    this.#beganMs = ms
  }

  /** Whole ms since the epoch. @param ms of `performance.now()`. */
  at(ms: number): number {
    if (this.#startAt === undefined) return Math.round(this.#offsetMs + ms)
    return Math.round(this.#startAt + (this.#beganMs === undefined ? 0 : ms - this.#beganMs))
  }
}
