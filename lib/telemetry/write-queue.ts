/** Group commit: messages that come at the same time are written together, and each is told when its group is durable. */
import { AppError } from '../errors.ts'
import type { Log } from '../log.ts'

/** What a message looks like to the store that writes it. */
export interface Item<T> {
  readonly value: T
  /** Readings. */
  readonly count: number
  readonly characters: number
}

export interface WriteQueue<T, R> {
  /**
   * Resolves when the message is durable, with what the store says of it.
   * @throws {AppError} UNAVAILABLE when more waits than the queue holds, or it was closed; else what the store answered.
   */
  add(item: Item<T>): Promise<R>
  /** Takes nothing more; resolves when everything is written. */
  close(): Promise<void>
}

export interface WriteQueueOptions<T, R> {
  /** Writes a group. Answers for each message, in its place, what became of it, or why it was not stored. Never throws. */
  write(group: readonly T[]): Promise<readonly (R | AppError)[]>
  log: Log
  /** Readings that may wait, in all; beyond it a message is refused. */
  maxWaiting?: number | undefined
  /** Characters that may wait. */
  maxWaitingBytes?: number | undefined
  /** Groups that are handed over before the first of them is answered; one after the other unless given. */
  ahead?: number | undefined
  /** Messages that are handed over at once, without a look at what else this turn of the event loop brings. */
  atOnce?: number | undefined
}

/** Characters of one group: large enough to share one flush or request, small enough to keep the wait short. */
export const maxGroupCharacters = 1_000_000

/** @param cause what the database or its connection said; it is logged by name and code only. */
export const unavailable = (cause?: unknown, retryAfterS = 2) =>
  new AppError('UNAVAILABLE', 'The telemetry store cannot take or give readings at the moment.', {
    retryAfterS,
    cause,
  })

interface Waiting<T, R> extends Item<T> {
  readonly resolve: (outcome: R) => void
  readonly reject: (error: Error) => void
}

export function createWriteQueue<T, R = void>(options: WriteQueueOptions<T, R>): WriteQueue<T, R> {
  const { write, log, maxWaiting = 20_000, maxWaitingBytes = 64 * 1024 * 1024 } = options
  const { ahead = 1, atOnce = Number.POSITIVE_INFINITY } = options
  let queue: Waiting<T, R>[] = []
  let waitingReadings = 0
  let waitingCharacters = 0
  const underWay = new Set<Promise<void>>()
  let planned = false
  let closed = false

  const nextGroup = (): Waiting<T, R>[] => {
    let characters = 0
    let end = 0
    while (end < queue.length && (end === 0 || characters < maxGroupCharacters)) {
      characters += queue[end]?.characters ?? 0
      end += 1
    }
    const group = queue.slice(0, end)
    queue = queue.slice(end)
    return group
  }

  const writeGroup = async (group: Waiting<T, R>[]) => {
    const outcomes = await write(group.map(({ value }) => value))
    let failed = 0
    let first: AppError | undefined
    for (const [at, waiting] of group.entries()) {
      waitingReadings -= waiting.count
      waitingCharacters -= waiting.characters
      const outcome = outcomes[at]
      if (outcome instanceof AppError) {
        failed += 1
        first ??= outcome
        waiting.reject(outcome)
      } else waiting.resolve(outcome as R)
    }
    if (first) log.error('readings could not be stored', { messages: failed, error: first.cause ?? first })
  }

  /** What comes meanwhile makes the next group. */
  const handOver = () => {
    planned = false
    while (queue.length > 0 && underWay.size < ahead) {
      const group = writeGroup(nextGroup()).then(() => {
        underWay.delete(group)
        handOver()
      })
      underWay.add(group)
    }
  }

  return {
    add({ value, count, characters }) {
      if (
        closed ||
        waitingReadings + count > maxWaiting ||
        waitingCharacters + characters > maxWaitingBytes
      ) {
        return Promise.reject(unavailable())
      }
      waitingReadings += count
      waitingCharacters += characters
      return new Promise((resolve, reject) => {
        queue.push({ value, count, characters, resolve, reject })
        if (queue.length >= atOnce) handOver()
        else if (!planned && underWay.size < ahead) {
          // Everything that this turn of the event loop brings belongs to the group.
          planned = true
          setImmediate(handOver)
        }
      })
    },
    async close() {
      closed = true
      handOver()
      while (underWay.size > 0) await Promise.all(underWay)
    },
  }
}
