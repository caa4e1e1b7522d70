/** Counts what happens, by kind. The kinds are those that the code names, never a text that a client sent. */
export class Tally<Kind extends string> {
  readonly #counts = new Map<Kind, number>()

  add(kind: Kind, by = 1): void {
    this.#counts.set(kind, (this.#counts.get(kind) ?? 0) + by)
  }

  /** How often each kind has happened, of those that have. */
  entries(): [kind: Kind, count: number][] {
    return [...this.#counts]
  }
}
