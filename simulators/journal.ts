/** What one device measured, and what became of each reading: the basis of the comparison at the end. */
import type { Values } from './signals/device-type.ts'

/** `waiting`: never tried. `unsure`: sent without an answer, so the server may have it or not. */
export type Mark = 'waiting' | 'unsure' | 'acknowledged' | 'refused'
const marks: readonly Mark[] = ['waiting', 'unsure', 'acknowledged', 'refused']

export interface Entry {
  /** ms since the epoch by the clock of the device. */
  readonly at: number
  /** The values as JSON. */
  readonly text: string
  readonly mark: Mark
}

/**
 * The readings of one device by their number, from 0. Values are kept as text: an object of each would take three times the
 * memory, and a fleet has millions.
 */
export class Journal {
  readonly #times: number[] = []
  readonly #texts: string[] = []
  readonly #marks: number[] = []

  get length(): number {
    return this.#times.length
  }

  /** @returns the number of the reading. */
  add(at: number, values: Values): number {
    this.#times.push(at)
    this.#texts.push(JSON.stringify(values))
    return this.#marks.push(0) - 1
  }

  mark(number: number, mark: Mark): void {
    this.#marks[number] = marks.indexOf(mark)
  }

  /** Undefined for a number that no reading has. */
  entry(number: number): Entry | undefined {
    const at = this.#times[number]
    if (at === undefined) return undefined
    return { at, text: this.#texts[number] ?? '', mark: marks[this.#marks[number] ?? 0] ?? 'waiting' }
  }

  count(mark: Mark): number {
    const wanted = marks.indexOf(mark)
    return this.#marks.reduce((count, one) => count + (one === wanted ? 1 : 0), 0)
  }
}
