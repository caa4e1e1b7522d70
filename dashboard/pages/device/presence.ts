/** When a device was online, from its events. */
import type { DeviceEvent } from './answers.ts'

/** A stretch of time, ms since the epoch. */
export interface Stretch {
  readonly from: number
  readonly to: number
  /** Undefined where no event tells. */
  readonly online: boolean | undefined
  readonly reason: string | undefined
}

export interface Presence {
  readonly stretches: readonly Stretch[]
  /** The part of the known time in which it was online, 0–1; undefined when nothing is known. */
  readonly onlinePart: number | undefined
  readonly outages: number
  /** The longest time that it was offline, ms. */
  readonly longestMs: number
}

type Change = Pick<DeviceEvent, 'event' | 'timestamp' | 'reason'>

/** @param events of any kind, in any order. @param span ms since the epoch. */
export function presenceOf(
  events: readonly Change[],
  { from, to }: { readonly from: number; readonly to: number },
): Presence {
  const changes = events
    .filter(({ event }) => event === 'online' || event === 'offline')
    .map((event) => ({
      at: Date.parse(event.timestamp),
      online: event.event === 'online',
      reason: event.reason,
    }))
    .sort((a, b) => a.at - b.at)
  const before = changes.findLast(({ at }) => at <= from)
  const within = changes.filter(({ at }) => at > from && at < to)
  const stretches: Stretch[] = []
  let current = { at: from, online: before?.online, reason: before?.reason }
  const end = (at: number) => {
    if (at > current.at)
      stretches.push({ from: current.at, to: at, online: current.online, reason: current.reason })
  }
  for (const change of within) {
    if (change.online === current.online) continue
    end(change.at)
    current = change
  }
  end(to)
  return { stretches, ...figuresOf(stretches) }
}

const figuresOf = (stretches: readonly Stretch[]) => {
  let [online, known, outages, longestMs] = [0, 0, 0, 0]
  for (const { from, to, online: wasOnline } of stretches) {
    if (wasOnline === undefined) continue
    known += to - from
    if (wasOnline) online += to - from
    else {
      outages += 1
      longestMs = Math.max(longestMs, to - from)
    }
  }
  return { onlinePart: known === 0 ? undefined : online / known, outages, longestMs }
}
