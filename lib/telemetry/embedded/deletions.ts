/** Large deletions: they go on in slices, over restarts, until nothing of their range is left. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Deletion, isOfEverything } from '../deletion.ts'
import type { TimeRange } from '../store.ts'
import type { EmbeddedDatabase } from './database.ts'
import { deletionRequests, toDeletion } from './deletion-table.ts'
import { removalSlice } from './removal.ts'

/** Most readings that one transaction deletes: about 0.2 s, during which writes wait. */
export const mostAtOnce = 20_000

/** How long a deletion of everything waits for writes that have begun: longer than a function may take, ms. */
const settlesMs = 15_000

/** The longest pause between slices, ms. */
const longestPauseMs = 50

/** How long a deletion is listed after its end, ms. */
const keptMs = 30 * 86_400_000

export class Deletions {
  readonly #database: EmbeddedDatabase
  readonly #now: () => number
  readonly #slice: number

  /** @param now milliseconds since the epoch. @param slice readings that one transaction of a large deletion deletes. */
  constructor(database: EmbeddedDatabase, now: () => number = Date.now, slice = removalSlice) {
    database.learn(deletionRequests)
    this.#database = database
    this.#now = now
    this.#slice = slice
  }

  /** Whether a range has more readings than one transaction deletes. @throws {AppError} UNAVAILABLE */
  async isLarge(deviceId: number, { from, to }: TimeRange): Promise<boolean> {
    const most = mostAtOnce + 1
    const [row] = await this.#database.query('countUpTo', { deviceId, from, to, most })
    return Number(row?.[0]) === most
  }

  /** Notes a deletion for good. The same one again, while it is not finished, is the one that there is. @returns its id. */
  create(deviceId: number, range: TimeRange): Promise<number> {
    const at = this.#now()
    const settlesAt = isOfEverything(range) ? at + settlesMs : at
    return this.#database.writer.change('createDeletion', { deviceId, ...range, at, settlesAt })
  }

  /** @throws {AppError} UNAVAILABLE */
  async find(id: number): Promise<Deletion | undefined> {
    const [row] = await this.#database.query('deletion', { id })
    return row && toDeletion(row)
  }

  /** Newest first. @param before id of the last deletion of the previous page. @throws {AppError} UNAVAILABLE */
  async list({ limit, before = null }: { limit: number; before?: number | null }): Promise<Deletion[]> {
    return (await this.#database.query('deletions', { before, limit })).map(toDeletion)
  }

  /** Deletes the next slice. @returns the deletion afterwards. @throws {AppError} UNAVAILABLE */
  next(id: number): Promise<Deletion | undefined> {
    return this.#database.writer.change('advanceDeletion', { id, at: this.#now(), most: this.#slice })
  }

  /**
   * Goes on with one deletion.
   * @param until by performance.now().
   * @returns its state then; undefined when there is no such deletion.
   * @throws {AppError} UNAVAILABLE: it goes on later.
   */
  async advance(id: number, until: number): Promise<Deletion | undefined> {
    let deletion = await this.find(id)
    while (deletion?.finishedAt === null && !this.#database.closed && performance.now() < until) {
      const { deleted } = deletion
      const began = performance.now()
      deletion = await this.next(id)
      // It waits for writes that have begun.
      if (deletion?.finishedAt === null && deletion.deleted === deleted) break
      // Writes have as much of the time as the deletion.
      await sleep(Math.min(performance.now() - began, longestPauseMs))
    }
    return deletion
  }

  /** Goes on with all deletions, the oldest first. @param until by performance.now(). @returns those that are finished now. */
  async run(until: number): Promise<Deletion[]> {
    const finished: Deletion[] = []
    for (const [id] of await this.#database.query('unfinishedDeletions', {})) {
      const deletion = await this.advance(Number(id), until)
      if (deletion !== undefined && deletion.finishedAt !== null) finished.push(deletion)
    }
    return finished
  }

  /** Forgets deletions that were finished 30 days ago. @throws {AppError} UNAVAILABLE */
  prune(): Promise<void> {
    return this.#database.writer.change('pruneDeletions', { before: this.#now() - keptMs })
  }
}
