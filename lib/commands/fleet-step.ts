/** What a fleet command does next, from what is known of it. Pure. */
import type { FleetCommandStatus } from './fleet-command.ts'

/** Commands of the fleet command that exist, and what became of them. */
export interface Results {
  readonly unfinished: number
  readonly succeeded: number
  /** Failed, or sent and never answered: a command may have stopped its device. */
  readonly failed: number
}

export interface FleetState {
  readonly status: FleetCommandStatus
  readonly targets: number
  /** Targets that had their turn. */
  readonly released: number
  readonly canaries: number
  /** Time at which the rest gets its turn in any case; null: when the canaries have answered. */
  readonly canaryUntil: number | null
  /** Failures that are accepted, as a share of the results; null: of the canaries none, of the others all. */
  readonly failedShare: number | null
  readonly minResults: number
  readonly ratePerS: number | null
  /** The rate is used up to this time. */
  readonly paidUntil: number
  readonly expiresAt: number
}

export type Step =
  /** The next so many targets get the command. */
  | { readonly do: 'release'; readonly count: number; readonly paidUntil: number }
  /** The canaries are content: the rest may follow. */
  | { readonly do: 'go on' }
  | { readonly do: 'abort'; readonly reason: string }
  /** Cancel what is open, and close it. */
  | { readonly do: 'close' }
  | { readonly do: 'finish' }
  /** The rate lets nobody have a turn for so many ms. */
  | { readonly do: 'pause'; readonly ms: number }
  /** Nothing is to be done but by the answers of devices, or by time: to be looked at after so many ms. */
  | { readonly do: 'wait'; readonly ms: number }

/** Devices that get their command together: few enough that a slice ends long before the lease does. */
export const sliceSize = 500
/** A fleet command that waits for answers is looked at so often, ms. */
const lookEveryMs = 2000
/** A rate that was not used up may be made up for within this time, ms. */
const burstMs = 500
/** Devices of a fast rate get their command in groups at this interval, ms. */
const groupMs = 100

const percent = (share: number) => `${Math.round(share * 1000) / 10} %`

const abortReason = (failed: number, results: number, share: number) =>
  `${failed} of ${results} results are failures: more than ${percent(share)}.`

const canaryStep = (state: FleetState, { unfinished, succeeded, failed }: Results, now: number): Step => {
  const results = succeeded + failed
  const share = state.failedShare ?? 0
  const isOver = state.canaryUntil !== null && now >= state.canaryUntil
  // Failures of the whole canary group are certain once there are too many, whatever the others answer.
  if (failed > share * state.canaries || ((unfinished === 0 || isOver) && failed > share * results))
    return { do: 'abort', reason: abortReason(failed, results, share) }
  if (isOver) return { do: 'go on' }
  if (unfinished > 0) return { do: 'wait', ms: lookEveryMs }
  return results > 0 ? { do: 'go on' } : { do: 'abort', reason: 'No canary has answered.' }
}

const releaseStep = (state: FleetState, upTo: number, now: number): Step => {
  const open = Math.min(sliceSize, upTo - state.released)
  if (state.ratePerS === null) return { do: 'release', count: open, paidUntil: now }
  const msEach = 1000 / state.ratePerS
  // At least one device always fits into the burst, however small the rate is.
  const paidFrom = Math.max(state.paidUntil, now - Math.max(burstMs, msEach))
  const count = Math.min(open, Math.floor((now - paidFrom) / msEach + 1e-9))
  if (count < 1) return { do: 'pause', ms: Math.max(groupMs, Math.ceil(paidFrom + msEach - now)) }
  return { do: 'release', count, paidUntil: Math.round(paidFrom + count * msEach) }
}

/** @param now milliseconds since the epoch. */
export function nextStep(state: FleetState, results: Results, now: number): Step {
  if (state.status !== 'canary' && state.status !== 'running') return { do: 'close' }
  const { succeeded, failed, unfinished } = results
  const known = succeeded + failed
  if (state.failedShare !== null && known >= state.minResults && failed > state.failedShare * known)
    return { do: 'abort', reason: abortReason(failed, known, state.failedShare) }
  const isExpired = now >= state.expiresAt
  const upTo = state.status === 'canary' ? state.canaries : state.targets
  if (!isExpired && state.released < upTo) return releaseStep(state, upTo, now)
  if (state.status === 'canary' && !isExpired) return canaryStep(state, results, now)
  return unfinished === 0 ? { do: 'finish' } : { do: 'wait', ms: lookEveryMs }
}
