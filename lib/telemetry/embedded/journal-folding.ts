/** Decides on the main thread when the journal is folded: a while after a message came, and before a query that needs it. */
import type { Log } from '../../log.ts'

/** How long a message waits in the journal when no query needs it: long enough for more messages of its device, ms. */
const foldAfterMs = 1000

export class JournalFolding {
  readonly #foldSome: (deviceId: number | undefined) => Promise<boolean>
  readonly #log: Log
  #timer: NodeJS.Timeout | undefined
  #running: Promise<void> | undefined
  #next: Promise<void> | undefined

  /** @param foldSome folds some of the journal, of one device or of all, and answers whether there is more. */
  constructor(foldSome: (deviceId: number | undefined) => Promise<boolean>, log: Log) {
    this.#foldSome = foldSome
    this.#log = log
  }

  /** Schedules a fold of everything that waits, after `foldAfterMs`. */
  schedule(): void {
    if (this.#timer !== undefined) return
    this.#timer = setTimeout(() => {
      // A message that comes during the fold schedules the next one.
      this.#timer = undefined
      this.#foldAll().catch((error) => this.#log.warn('readings wait in the journal', { error }))
    }, foldAfterMs)
    this.#timer.unref()
  }

  /** Folds the messages of a device, or of all, that were written before this call. @throws {AppError} UNAVAILABLE */
  fold(deviceId: number | undefined): Promise<void> {
    return deviceId === undefined ? this.#foldAll() : this.#foldUntilDone(deviceId)
  }

  /** @throws {AppError} UNAVAILABLE */
  close(): Promise<void> {
    clearTimeout(this.#timer)
    return this.#foldAll()
  }

  /** Folds part by part, so that writes can run between two parts. */
  async #foldUntilDone(deviceId: number | undefined): Promise<void> {
    while (await this.#foldSome(deviceId)) {}
  }

  /** A fold that runs may have begun before the newest message: then another one follows it. */
  #foldAll(): Promise<void> {
    if (this.#running === undefined) {
      this.#running = this.#foldUntilDone(undefined).finally(() => {
        this.#running = undefined
      })
      return this.#running
    }
    this.#next ??= this.#running
      .catch(() => undefined)
      .then(() => {
        this.#next = undefined
        return this.#foldAll()
      })
    return this.#next
  }
}
