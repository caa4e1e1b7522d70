/** A line on a terminal that says how far a command is; nothing elsewhere. */

/** Time between two changes of the line, ms. */
const everyMs = 100
const width = 24

export class Progress {
  readonly #what: string
  #shownAt = Number.NEGATIVE_INFINITY

  /** @param what is counted: `readings`. */
  constructor(what: string) {
    this.#what = what
  }

  /** @param share of the work that is done, 0 to 1. */
  show(count: number, share: number): void {
    if (!process.stderr.isTTY || performance.now() - this.#shownAt < everyMs) return
    this.#shownAt = performance.now()
    const full = Math.round(Math.min(1, share) * width)
    process.stderr.write(`\r[${'#'.repeat(full)}${' '.repeat(width - full)}] ${count} ${this.#what}\u001b[K`)
  }

  /** Removes the line. */
  clear(): void {
    if (process.stderr.isTTY && this.#shownAt > 0) process.stderr.write('\r\u001b[K')
  }
}
