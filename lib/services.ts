/** Services of one process: each is built on its first use, and all are closed together. */
export class Services {
  /** One function for each service that has to be closed, in the order in which they were built. */
  readonly closers: (() => unknown)[] = []
  readonly #built = new Map<string, unknown>()

  /** Whether no service was asked for yet. */
  get isEmpty(): boolean {
    return this.#built.size === 0
  }

  /** Builds a service once; after a failure the next call builds it again. */
  once<T>(name: string, build: () => T): T {
    if (this.#built.has(name)) return this.#built.get(name) as T
    const value = build()
    this.#built.set(name, value)
    if (value instanceof Promise) value.catch(() => this.#built.delete(name))
    return value
  }

  /** Closes every service, the last one built first, and forgets them. @throws {unknown} the first error, after all are closed. */
  async close(): Promise<void> {
    const errors: unknown[] = []
    for (const close of this.closers.splice(0).reverse()) {
      try {
        await close()
      } catch (error) {
        errors.push(error)
      }
    }
    this.#built.clear()
    if (errors.length > 0) throw errors[0]
  }
}
