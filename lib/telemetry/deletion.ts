/** A large deletion, as operators see it. */
import { formatMillis } from '../iso-time.ts'
import { allTime, type TimeRange } from './store.ts'
import { formatTime } from './time.ts'

/** A range that is deleted slice by slice. */
export interface Deletion {
  readonly id: number
  readonly deviceId: number
  readonly range: TimeRange
  /** Times of the oldest and the newest reading when it was asked for, ns since the epoch. */
  readonly first: bigint
  readonly last: bigint
  /** The readings before this time are deleted, ns since the epoch. */
  readonly reached: bigint
  /** Readings that are deleted so far. */
  readonly deleted: number
  /** Milliseconds since the epoch. */
  readonly requestedAt: number
  /** Milliseconds since the epoch; null until it is finished. */
  readonly finishedAt: number | null
}

/** Whether it deletes all that a device has. */
export const isOfEverything = ({ from, to }: TimeRange): boolean => from <= allTime.from && to >= allTime.to

const thousandths = 1000n

/** The share of the time that is done, 0 to 1; it rises as fast as readings go where they are spread evenly. */
const progressOf = ({ first, last, reached, finishedAt }: Deletion): number => {
  if (finishedAt !== null) return 1
  if (reached <= first) return 0
  return reached > last ? 0.999 : Number(((reached - first) * thousandths) / (last - first + 1n)) / 1000
}

/** A deletion as answers show it. */
export const deletionView = (deletion: Deletion) => {
  const { id, deviceId, range, deleted, requestedAt, finishedAt } = deletion
  const all = isOfEverything(range)
  return {
    deletion_id: id,
    device_id: deviceId,
    start_time: all ? null : formatTime(range.from),
    stop_time: all ? null : formatTime(range.to),
    state: finishedAt === null ? ('running' as const) : ('finished' as const),
    deleted,
    progress: progressOf(deletion),
    requested_at: formatMillis(requestedAt),
    finished_at: finishedAt === null ? null : formatMillis(finishedAt),
  }
}
