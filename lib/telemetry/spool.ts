/**
 * The way in for a store that may be away: every message is spooled first, durably, counted and told apart from those that
 * came before, and at once handed on to the store. What the store has taken leaves the spool.
 */
import { setTimeout as pause } from 'node:timers/promises'
import type { Log } from '../log.ts'
import type { EmbeddedStore, Spooled } from './embedded.ts'
import type { Intake, Receipt } from './intake.ts'
import { type Bury, isRefusal, writeOrBury } from './single-out.ts'
import type { TelemetryStore } from './store.ts'
import { unavailable } from './write-queue.ts'

export interface SpoolOptions {
  /** Holds the spool. */
  ledger: EmbeddedStore
  store: Pick<TelemetryStore, 'write'>
  bury: Bury
  log: Log
  /** Bytes that may wait; beyond it nothing is taken. */
  maxBytes: number
  /** When the oldest message has waited so long, nothing is taken, ms. */
  maxAgeMs: number
  /** How long a message may wait for the store before it is answered as queued, ms. */
  waitMs?: number
  /** Pauses between tries while the store is away: the first, and the longest, ms. */
  retryMs?: { first: number; longest: number }
  /** Milliseconds since the epoch. */
  now?: () => number
}

/** What is handed on at once. */
const handOn = { maxMessages: 1000, maxBytes: 1_000_000 }
/** How often the spool is looked into unasked: other processes spool too, ms. */
const lookMs = 5000
/** How often its size is read, ms. */
const sizeMs = 250
/** How long an end waits for what is being handed on; it stays in the spool, and is handed on again, ms. */
const closeMs = 1000
/** A message older than this makes a backlog: those behind it are answered as queued at once, ms. */
const backlogMs = 1000

interface Waiter {
  readonly lastId: number
  readonly resolve: (settled: boolean) => void
}

export function createSpooledIntake(options: SpoolOptions): Intake {
  const { ledger, store, bury, log, maxBytes, maxAgeMs, waitMs = 1000, now = Date.now } = options
  const { first: firstRetryMs, longest } = options.retryMs ?? { first: 500, longest: 15_000 }

  let waiters: Waiter[] = []
  let closed = false
  /** Set while the store does not take anything. */
  let away = false
  let backlog = false
  let retryMs = firstRetryMs
  /** Something was spooled since the last look. */
  let wanted = false
  let endSleep = () => {}
  let handingOver: Promise<unknown> = Promise.resolve()

  let size = { bytes: 0, oldestAt: undefined as number | undefined }
  let sizeAt = Number.NEGATIVE_INFINITY
  const readSize = async () => {
    if (performance.now() - sizeAt < sizeMs) return
    sizeAt = performance.now()
    const { bytes, oldestAt } = await ledger.spoolState()
    size = { bytes, oldestAt }
    backlog = oldestAt !== undefined && now() - oldestAt > backlogMs
  }
  const isFull = () =>
    size.bytes >= maxBytes || (size.oldestAt !== undefined && now() - size.oldestAt > maxAgeMs)

  const tell = (settled: (waiter: Waiter) => boolean | undefined) => {
    waiters = waiters.filter((waiter) => {
      const said = settled(waiter)
      if (said === undefined) return true
      waiter.resolve(said)
      return false
    })
  }

  /** Answers how many readings of a refused message were buried; other processes hand on the same spool. */
  const singleOut = async ({ id, entry }: Spooled): Promise<number> => {
    const once: Bury = (alone, reason) => {
      const [reading] = alone.readings
      const at = reading === undefined ? -1 : entry.readings.indexOf(reading)
      // With the times, it is told apart from a message of the same id in a spool that was made anew.
      return bury(alone, reason, `spool-${id}-${entry.receivedAt}-${reading?.time}-${at}`)
    }
    return (await writeOrBury(store, once, entry)).size
  }

  /**
   * Hands on what is oldest, all at once. Behind a message that was written late, or not, those of the same device are
   * written again in their order: the last one has to win.
   * @returns whether the store took it.
   */
  const handOver = async (batch: readonly Spooled[]): Promise<boolean> => {
    const results = await Promise.allSettled(batch.map(({ entry }) => store.write(entry)))
    const settled: number[] = []
    const rejected = new Map<number, number>()
    const late = new Set<number>()
    const left = new Set<number>()
    let open = Number.POSITIVE_INFINITY
    let failure: unknown
    for (const [at, spooled] of batch.entries()) {
      const { id, entry } = spooled
      if (left.has(entry.deviceId)) continue
      const [result] = late.has(entry.deviceId)
        ? await Promise.allSettled([store.write(entry)])
        : [results[at]]
      try {
        if (result?.status === 'rejected') {
          if (!isRefusal(result.reason)) throw result.reason
          rejected.set(id, await singleOut(spooled))
          late.add(entry.deviceId)
        }
        settled.push(id)
      } catch (error) {
        failure ??= error
        open = Math.min(open, id)
        left.add(entry.deviceId)
      }
    }
    await ledger.settle(settled, rejected)
    const last = Math.min(batch.at(-1)?.id ?? 0, open - 1)
    tell(({ lastId }) => (lastId <= last ? true : undefined))
    if (failure === undefined) return true
    log.warn('the telemetry store is away, readings wait in the spool', { error: failure })
    return false
  }

  const sleep = (ms: number) =>
    new Promise<void>((resolve) => {
      if (closed) return resolve()
      const timer = setTimeout(resolve, ms)
      timer.unref()
      endSleep = () => {
        clearTimeout(timer)
        resolve()
      }
    })

  /** From the look into the spool to the last write: what is deleted meanwhile has to wait for all of it. */
  const nextRound = () => {
    const round = (async () => {
      const batch = await ledger.spooled(handOn)
      return { batch, taken: batch.length === 0 || (await handOver(batch)) }
    })()
    handingOver = round.catch(() => undefined)
    return round
  }

  const drain = async () => {
    while (!closed) {
      const began = performance.now()
      wanted = false
      try {
        const before = new Set(waiters)
        const { batch, taken } = await nextRound()
        // Nothing is older than what waits: others have handed it on. What came after the look is not known yet.
        const first = batch[0]?.id ?? Number.POSITIVE_INFINITY
        tell((waiter) => (before.has(waiter) && waiter.lastId < first ? true : undefined))
        if (batch.length === 0) {
          if (away || backlog) log.info('the spool is empty again')
          away = false
          backlog = false
          if (!wanted) await sleep(lookMs)
          continue
        }
        away = !taken
        await readSize()
      } catch (error) {
        away = true
        if (!closed) log.error('the spool cannot be emptied', { error })
      }
      if (away) {
        tell(() => false)
        // Half of it by chance: instances that lost the store together do not come back together.
        await sleep(retryMs * (0.5 + Math.random() / 2))
        retryMs = Math.min(retryMs * 2, longest)
      } else {
        retryMs = firstRetryMs
        // What comes in meanwhile has as much time as the backlog.
        if (backlog) await sleep(performance.now() - began)
      }
    }
    tell(() => false)
  }
  const draining = drain()

  const settledInTime = (lastId: number) =>
    new Promise<boolean>((resolve) => {
      const timer = setTimeout(() => {
        waiters = waiters.filter((one) => one !== waiter)
        resolve(false)
      }, waitMs)
      const waiter: Waiter = {
        lastId,
        resolve: (settled) => {
          clearTimeout(timer)
          resolve(settled)
        },
      }
      waiters.push(waiter)
    })

  return {
    async take(delivery): Promise<Receipt> {
      await readSize()
      if (closed || (delivery.readings.length > 0 && isFull())) throw unavailable(undefined, 30)
      const { lastId, ...receipt } = await ledger.deliver(delivery, 'spool')
      const { queued, duplicates } = receipt
      wanted = true
      // The pause after a round of the backlog is for what comes in.
      if (!away && !backlog) endSleep()
      if (queued === 0 || away || backlog) return receipt
      return (await settledInTime(lastId)) ? { stored: queued, queued: 0, duplicates } : receipt
    },
    count: (change) => ledger.countIn(change),
    account: (deviceId) => ledger.account(deviceId),
    async keeps() {
      await readSize()
      return !closed && !isFull()
    },
    spool: () => ledger.spoolState(),
    async dropSpooled(deviceId, range) {
      await ledger.dropSpooled(deviceId, range)
      // What was read before is on its way to the store: what is deleted there must be deleted after it.
      await handingOver
    },
    lastArrival: () => ledger.lastArrival(),
    async close() {
      closed = true
      endSleep()
      await Promise.race([draining, pause(closeMs, undefined, { ref: false })])
      tell(() => false)
    },
  }
}
