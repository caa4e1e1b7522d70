/**
 * The way in for a store that may be away: every message is spooled first, durably, counted and told apart from those that
 * came before, and at once handed on to the store. What the store has taken leaves the spool.
 */
import { AppError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { EmbeddedStore, Spooled } from './embedded.ts'
import type { Intake, Receipt } from './intake.ts'
import type { TelemetryStore, WriteEntry } from './store.ts'
import { unavailable } from './write-queue.ts'

export interface SpoolOptions {
  /** Holds the spool. */
  ledger: EmbeddedStore
  store: Pick<TelemetryStore, 'write'>
  /** Keeps a reading that the store refuses for good, once for each key: other processes hand on the same spool. */
  bury(entry: WriteEntry, reason: string, key: string): Promise<void>
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
/** A message older than this makes a backlog: those behind it are answered as queued at once, ms. */
const backlogMs = 1000

interface Waiter {
  readonly lastId: number
  readonly resolve: (settled: boolean) => void
}

const isRefusal = (error: unknown) => error instanceof AppError && error.code === 'VALIDATION_FAILED'

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

  /** Writes the readings of a message that was refused, one by one; answers how many were buried. */
  const singleOut = async ({ id, entry }: Spooled): Promise<number> => {
    let buried = 0
    for (const [at, reading] of entry.readings.entries()) {
      const alone = { ...entry, readings: [reading] }
      try {
        await store.write(alone)
      } catch (error) {
        if (!isRefusal(error)) throw error
        // With the times, it is told apart from a message of the same id in a spool that was made anew.
        const key = `spool-${id}-${entry.receivedAt}-${reading.time}-${at}`
        await bury(alone, 'The telemetry store refused the reading.', key)
        buried += 1
      }
    }
    return buried
  }

  /** Hands on what is oldest. @returns whether the store took it. */
  const handOver = async (batch: readonly Spooled[]): Promise<boolean> => {
    const results = await Promise.allSettled(batch.map(({ entry }) => store.write(entry)))
    const settled: number[] = []
    const rejected = new Map<number, number>()
    let open = Number.POSITIVE_INFINITY
    let failure: unknown
    for (const [at, spooled] of batch.entries()) {
      const { id } = spooled
      const result = results[at]
      try {
        if (result?.status === 'rejected') {
          if (!isRefusal(result.reason)) throw result.reason
          rejected.set(id, await singleOut(spooled))
        }
        settled.push(id)
      } catch (error) {
        failure ??= error
        open = Math.min(open, id)
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

  const drain = async () => {
    while (!closed) {
      const began = performance.now()
      wanted = false
      try {
        const batch = await ledger.spooled(handOn)
        // Nothing is older than what waits: others have handed it on.
        const first = batch[0]?.id ?? Number.POSITIVE_INFINITY
        tell(({ lastId }) => (lastId < first ? true : undefined))
        if (batch.length === 0) {
          if (away || backlog) log.info('the spool is empty again')
          away = false
          backlog = false
          if (!wanted) await sleep(lookMs)
          continue
        }
        const handedOver = handOver(batch)
        handingOver = handedOver.catch(() => undefined)
        away = !(await handedOver)
        await readSize()
      } catch (error) {
        away = true
        log.error('the spool cannot be emptied', { error })
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
      if (!away) endSleep()
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
      await draining
    },
  }
}
