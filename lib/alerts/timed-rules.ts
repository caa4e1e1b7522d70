/** Rules that are about time, made ready to judge many devices. */
import { setImmediate as turn } from 'node:timers/promises'
import type {
  CountWanted,
  DeviceFacts,
  StoredTimedRule,
  TimedFinding,
} from '../telemetry/embedded/timed-alerts.ts'
import type { JudgedDevice } from './fleet.ts'
import { durationMs, type RuleTarget, type TimedCondition } from './rule.ts'
import { fitsTarget } from './targets.ts'

/** Rules that are made ready before requests come in between: about 2 ms. */
const rulesAtOnce = 500

/** What a rule says of a device for which its condition holds. */
interface Breach {
  /** Since when, ms since the epoch. */
  readonly at: number
  readonly value: number
}

/** A rule that is made ready for many devices. */
export interface Ready {
  readonly id: number
  readonly revision: number
  readonly kind: TimedCondition['kind']
  /** Of a rule about silence how long it lasts, ms. */
  readonly silenceMs: number
  /** The only device that it is about; undefined for a rule about several. */
  readonly deviceId: number | undefined
  readonly fits: (device: JudgedDevice) => boolean
  readonly breachOf: (device: JudgedDevice, facts: DeviceFacts, now: number) => Breach | undefined
}

/** A count that rules ask for. */
export interface Window {
  readonly kind: CountWanted['kind']
  /** ms. */
  readonly within: number
  /** The least number for which a rule opens an alert. */
  readonly least: number
}

export interface ReadyRules {
  readonly rules: readonly Ready[]
  readonly has: (kind: Ready['kind']) => boolean
  /** Those about several devices, and by device those about it alone. */
  readonly general: readonly Ready[]
  readonly ofDevice: ReadonlyMap<number, readonly Ready[]>
  /** The counts that they ask for, each once; their places are those of `DeviceFacts.counts`. */
  readonly windows: readonly Window[]
}

const ms = (text: string | undefined) => (text === undefined ? 0 : (durationMs(text) ?? 0))

const seconds = (time: number) => Math.floor(time / 1000)

/** An alert never opens for a time at which the rule was another one. */
const breachOf = (
  condition: TimedCondition,
  { updatedAt }: StoredTimedRule,
  placeOf: (window: Window) => number,
): Ready['breachOf'] => {
  switch (condition.kind) {
    case 'no_data': {
      const hold = ms(condition.for)
      return ({ id, createdAt }, { arrivals }, now) => {
        const last = Math.max(arrivals.get(id) ?? 0, createdAt)
        if (now - last < hold) return undefined
        return { at: Math.max(last + hold, updatedAt), value: seconds(now - last) }
      }
    }
    case 'offline': {
      // The state waits for the duration itself.
      const hold = ms(condition.for)
      return ({ offlineSince: since }, _facts, now) =>
        since === undefined
          ? undefined
          : { at: Math.max(since, updatedAt - hold), value: Math.max(seconds(now - since), 0) }
    }
    default: {
      const place = placeOf({ kind: condition.kind, within: ms(condition.within), least: condition.count })
      const { count } = condition
      return ({ id }, { counts }, now) => {
        const value = counts[place]?.get(id) ?? 0
        return value < count ? undefined : { at: now, value }
      }
    }
  }
}

/** What is new of a rule at a device; undefined when nothing is. */
export const findingOf = (
  { id: rule, revision, fits, breachOf }: Ready,
  device: JudgedDevice,
  facts: DeviceFacts,
  now: number,
): TimedFinding | undefined => {
  if (!fits(device)) return undefined
  const breach = breachOf(device, facts, now)
  const wasBreach = facts.breached.get(device.id)?.has(rule) ?? false
  if ((breach !== undefined) === wasBreach) return undefined
  const about = { rule, revision, deviceId: device.id }
  return breach === undefined
    ? { ...about, at: now, verdict: -1, value: 0 }
    : { ...about, ...breach, verdict: 1 }
}

/** Makes rules ready, so that requests come in between. */
export async function makeReady(stored: readonly StoredTimedRule[]): Promise<ReadyRules> {
  const rules: Ready[] = []
  const ofDevice = new Map<number, Ready[]>()
  const windows: Window[] = []
  const placeOf = (wanted: Window) => {
    const place = windows.findIndex(({ kind, within }) => kind === wanted.kind && within === wanted.within)
    const known = windows[place]
    if (known === undefined) return windows.push(wanted) - 1
    windows[place] = { ...known, least: Math.min(known.least, wanted.least) }
    return place
  }
  for (const rule of stored) {
    const condition = JSON.parse(rule.condition) as TimedCondition
    const target = JSON.parse(rule.target) as RuleTarget
    const ready: Ready = {
      id: rule.id,
      revision: rule.revision,
      kind: condition.kind,
      silenceMs: condition.kind === 'no_data' ? ms(condition.for) : 0,
      deviceId: target.device_id,
      fits: fitsTarget(target),
      breachOf: breachOf(condition, rule, placeOf),
    }
    rules.push(ready)
    const { deviceId } = ready
    if (deviceId !== undefined) {
      const known = ofDevice.get(deviceId)
      if (known === undefined) ofDevice.set(deviceId, [ready])
      else known.push(ready)
    }
    if (rules.length % rulesAtOnce === 0) await turn()
  }
  const kinds = new Set(rules.map(({ kind }) => kind))
  const general = rules.filter(({ deviceId }) => deviceId === undefined)
  return { rules, has: (kind) => kinds.has(kind), general, ofDevice, windows }
}
