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
}

/** Characters of one group: large enough to share one flush or request, small enough to keep the wait short. */
const maxGroupCharacters = 1_000_000

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
  let queue: Waiting<T, R>[] = []
  let waitingReadings = 0
  let waitingCharacters = 0
  let writing: Promise<void> | undefined
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

  /** Writes group after group while there are any; what comes meanwhile makes the next group. */
  const writeAll = async () => {
    // Everything that this turn of the event loop brings belongs to the first group.
    await new Promise((resolve) => setImmediate(resolve))
    while (queue.length > 0) await writeGroup(nextGroup())
    // In the same turn as the last look at the queue: a message in between would wait for ever.
    writing = undefined
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
        writing ??= writeAll()
      })
    },
    async close() {
      closed = true
      await writing
    },
  }
}
