/** Empties the spool into the store as soon as the store is available, oldest messages first. */
import { setTimeout as pause } from 'node:timers/promises'
import pTimeout from 'p-timeout'
import type { Log } from '../../log.ts'
import type { DrainableSpool, SpooledMessage } from '../spool.ts'
import type { TelemetryStore, WriteOutcome } from '../store.ts'
import { allUnavailable } from '../unavailable.ts'
import { type KeepDeadLetter, refusedReason } from './store-writer.ts'

export interface SpoolDrainOptions {
  readonly spool: DrainableSpool
  readonly store: Pick<TelemetryStore, 'write'>
  readonly keepDeadLetter: KeepDeadLetter
  readonly log: Log
  /** Resolves when no write of new readings is under way: a late one must not overwrite newer values from the spool. */
  readonly writesEnded: () => Promise<void>
  /** Pauses between tries while the store is unavailable: the first and the longest, ms. */
  readonly retryMs?: { readonly first: number; readonly longest: number } | undefined
  /** Messages and bytes of one write. */
  readonly limits?: { readonly maxMessages: number; readonly maxBytes: number } | undefined
}

const defaultLimits = { maxMessages: 1000, maxBytes: 1_000_000 }
/** Interval at which an idle drain looks into the spool, ms: another process may have left messages there. */
const lookEveryMs = 5000
/** Interval at which somebody who waits for an empty spool looks, ms. */
const lookAgainMs = 250
/** How long `close` waits for a write; its messages stay in the spool and are written again, ms. */
const closeMs = 1000
/** Up to this many waiting readings are written exclusively: new readings wait meanwhile. */
const fewReadings = 5000
/** Longest time that new readings are held up, ms. */
const holdUpMs = 1000

export class SpoolDrain {
  readonly #options: SpoolDrainOptions
  readonly #draining: Promise<void>
  /** Batches of new readings that wait or run. */
  readonly #besides = new Set<Promise<void>>()
  /** The last piece of work that must not run beside another one. */
  #last: Promise<unknown> = Promise.resolve()
  #round: Promise<unknown> = Promise.resolve()
  /** A write that took too long to be waited for. */
  #lateWrite: Promise<unknown> = Promise.resolve()
  #hasBacklog = false
  #isStoreAvailable = true
  #closed = false
  #retryMs: number
  #endSleep: () => void = () => undefined

  constructor(options: SpoolDrainOptions) {
    this.#options = options
    this.#retryMs = this.#firstRetryMs
    // The first look comes before the first batch of new readings.
    this.exclusively(() => this.#look()).catch((error) => this.#logFailure(error))
    this.#draining = this.#drain()
  }

  /** Whether messages wait in the spool: new ones have to follow them there. */
  get hasBacklog(): boolean {
    return this.#hasBacklog
  }

  /** Notes that a message was put into the spool. */
  noteBacklog(): void {
    if (this.#hasBacklog) return
    this.#hasBacklog = true
    // The next round must not hold up new readings: the store may not answer at all.
    this.#isStoreAvailable = false
    this.#endSleep()
  }

  /** Runs a batch of new readings, also beside others, but while no exclusive work runs. */
  beside<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work)
    const ended = result.then(
      () => undefined,
      () => undefined,
    )
    this.#besides.add(ended)
    void ended.then(() => this.#besides.delete(ended))
    return result
  }

  /** Runs work alone, as the last round of the drain: after what came before, and before what comes later. */
  exclusively<T>(work: () => Promise<T>): Promise<T> {
    const result = Promise.all([this.#last, ...this.#besides]).then(work)
    this.#last = result.catch(() => undefined)
    return result
  }

  /** Resolves when the writes that are under way now have ended. */
  async writesEnded(): Promise<void> {
    await Promise.all([this.#round, this.exclusively(this.#options.writesEnded)])
    await this.#lateWrite
  }

  /** Resolves when the spool is empty, or at this time, by performance.now(). @throws {AppError} UNAVAILABLE */
  async emptied(until: number): Promise<void> {
    await this.exclusively(() => this.#look())
    while (this.#hasBacklog && !this.#closed && performance.now() < until) await pause(lookAgainMs)
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#endSleep()
    await Promise.race([this.#draining, pause(closeMs, undefined, { ref: false })])
  }

  get #firstRetryMs(): number {
    return this.#options.retryMs?.first ?? 500
  }

  async #drain(): Promise<void> {
    await this.#last
    while (!this.#closed) {
      if (!this.#hasBacklog) await this.#sleep(lookEveryMs)
      if (this.#closed) return
      const began = performance.now()
      const round = this.#nextRound().catch((error: unknown) => {
        this.#isStoreAvailable = false
        this.#logFailure(error)
      })
      this.#round = round
      await round
      await this.#pauseAfterRound(performance.now() - began)
    }
  }

  async #pauseAfterRound(roundMs: number): Promise<void> {
    const { longest = 15_000 } = this.#options.retryMs ?? {}
    if (this.#isStoreAvailable) {
      this.#retryMs = this.#firstRetryMs
      // New readings get as much of the store's and the disk's time as the backlog.
      if (this.#hasBacklog) await this.#sleep(roundMs)
      return
    }
    // Half of the pause is random: instances that lost the store together must not come back together.
    await this.#sleep(this.#retryMs * (0.5 + Math.random() / 2))
    this.#retryMs = Math.min(this.#retryMs * 2, longest)
  }

  async #look(): Promise<number> {
    const { depth } = await this.#options.spool.state()
    if (this.#hasBacklog && depth === 0) this.#options.log.info('the spool is empty again')
    this.#hasBacklog = depth > 0
    return depth
  }

  /**
   * Writes some of the backlog beside the new readings, which enter the spool meanwhile. Few remaining readings are written
   * exclusively: otherwise steady traffic would never find the spool empty.
   */
  async #nextRound(): Promise<void> {
    await Promise.all([this.#options.writesEnded(), this.#lateWrite])
    if (this.#isStoreAvailable) {
      const { depth } = await this.#options.spool.state()
      if (depth <= fewReadings) return this.exclusively(() => this.#lastRounds())
    }
    this.#isStoreAvailable = await this.#writeOldest()
  }

  async #lastRounds(): Promise<void> {
    const began = performance.now()
    while ((await this.#look()) > 0) {
      if (this.#closed || performance.now() - began > holdUpMs) return
      this.#isStoreAvailable = await pTimeout(this.#writeOldest(), {
        milliseconds: holdUpMs,
        fallback: () => false,
      })
      if (!this.#isStoreAvailable) return
    }
  }

  /** @returns whether the store took all of the oldest messages. */
  #writeOldest(): Promise<boolean> {
    const written = this.#readAndWriteOldest()
    // A deletion waits for the reading of the spool, too: rows that were read before it must not be written after it.
    this.#lateWrite = written.catch(() => undefined)
    return written
  }

  async #readAndWriteOldest(): Promise<boolean> {
    const { spool, store, limits = defaultLimits } = this.#options
    const messages = await spool.oldest(limits)
    if (messages.length === 0) return true
    const entries = messages.map(({ entry }) => entry)
    const outcomes = await store.write(entries).catch((error: unknown) => allUnavailable(entries, error))
    return this.#settle(messages, outcomes)
  }

  /** Takes the written messages out of the spool. A device's messages behind one that was not written stay: order matters. */
  async #settle(messages: readonly SpooledMessage[], outcomes: readonly WriteOutcome[]): Promise<boolean> {
    const settled: number[] = []
    const rejected = new Map<number, number>()
    const stuckDevices = new Set<number>()
    let failure: unknown
    for (const [at, message] of messages.entries()) {
      const { id, entry } = message
      const outcome = outcomes[at]
      if (outcome === undefined || stuckDevices.has(entry.deviceId)) continue
      try {
        if ('unavailable' in outcome) throw outcome.unavailable
        await this.#keepRefused(message, outcome.refused)
        settled.push(id)
        if (outcome.refused.length > 0) rejected.set(id, outcome.refused.length)
      } catch (error) {
        failure ??= error
        stuckDevices.add(entry.deviceId)
      }
    }
    await this.#options.spool.settle(settled, rejected)
    if (failure === undefined) return true
    this.#options.log.warn('the telemetry store is unavailable, readings wait in the spool', {
      error: failure,
    })
    return false
  }

  /** Other processes may empty the same spool: each refused reading is kept once. */
  async #keepRefused({ id, entry }: SpooledMessage, places: readonly number[]): Promise<void> {
    for (const place of places) {
      const readings = entry.readings.slice(place, place + 1)
      // The times tell the message apart from one of the same id in a spool that was made anew.
      const onceKey = `spool-${id}-${entry.receivedAt}-${readings[0]?.time}-${place}`
      await this.#options.keepDeadLetter({ ...entry, readings }, refusedReason, onceKey)
    }
  }

  #logFailure(error: unknown): void {
    if (!this.#closed) this.#options.log.error('the spool cannot be emptied', { error })
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      if (this.#closed) return resolve()
      const timer = setTimeout(resolve, ms)
      timer.unref()
      this.#endSleep = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}
