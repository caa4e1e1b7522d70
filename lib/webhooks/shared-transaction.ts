/** Writes that happen at the same time in one transaction: a file is brought to the disk once for all of them. */
import type { RegistryDb } from '../registry/db.ts'

type Statement = ReturnType<RegistryDb['run']>

interface Waiting {
  readonly statements: readonly Statement[]
  resolve(): void
  reject(error: unknown): void
}

export class SharedTransaction {
  readonly #db: Pick<RegistryDb, 'batch'>
  #waiting: Waiting[] = []

  constructor(db: Pick<RegistryDb, 'batch'>) {
    this.#db = db
  }

  /** Resolves when the statements are durable. Those of one turn of the event loop succeed or fail together. */
  write(statements: readonly Statement[]): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ statements, resolve, reject })
      if (this.#waiting.length === 1) setImmediate(() => void this.#flush())
    })
  }

  async #flush(): Promise<void> {
    const waiting = this.#waiting
    this.#waiting = []
    const [first, ...others] = waiting.flatMap(({ statements }) => statements)
    try {
      if (first !== undefined) await this.#db.batch([first, ...others])
      for (const { resolve } of waiting) resolve()
    } catch (error) {
      for (const { reject } of waiting) reject(error)
    }
  }
}
