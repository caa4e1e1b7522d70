/** Clears alerts of devices that are gone, that are not judged, and that a rule is not about any more. */
import { setImmediate as turn } from 'node:timers/promises'
import type { AlertedPair, PairsWanted, TimedAlerts } from '../telemetry/embedded/timed-alerts.ts'
import { devicesPerSlice, type Fleet, idsPerBlock, type JudgedDevice } from './fleet.ts'
import type { RuleTarget } from './rule.ts'
import { fitsTarget } from './targets.ts'

export interface LeaverSweepOptions {
  readonly alerts: Pick<TimedAlerts, 'pairs' | 'newestPairs' | 'newestAlert' | 'clear' | 'clearPairs'>
  readonly fleet: Pick<Fleet, 'these'>
  /** Milliseconds since the epoch. */
  readonly now: () => number
  readonly closed: () => boolean
}

type Fits = (target: string) => (device: JudgedDevice) => boolean

export class LeaverSweep {
  readonly #options: LeaverSweepOptions
  /** Open alerts up to this id were looked at: those of devices that are as they were then need it no more. */
  #lookedTo = 0

  constructor(options: LeaverSweepOptions) {
    this.#options = options
  }

  /** @param blocks first ids of blocks of devices that may have changed; undefined: any. */
  async clear(blocks: readonly number[] | undefined): Promise<void> {
    const { alerts } = this.#options
    const newest = await alerts.newestAlert()
    if (blocks === undefined) await this.#clearWithin({}, 0)
    else {
      for (const first of blocks) await this.#clearWithin({ last: first + idsPerBlock - 1 }, first)
      // A process that did not know the device as it is may have opened one.
      await this.#clearNewest()
    }
    if (!this.#options.closed()) this.#lookedTo = newest
  }

  /** Before alerts open by the time alone: not those of devices that are judged no more. @param due ms since the epoch. */
  clearDue(due: number): Promise<void> {
    return this.#clearWithin({ due }, 0)
  }

  async #clearWithin(wanted: PairsWanted, first: number): Promise<void> {
    const { alerts, closed } = this.#options
    const fits = this.#fits()
    for (let after = { deviceId: first, ruleId: 0 }; !closed(); ) {
      const pairs = await alerts.pairs(wanted, after, devicesPerSlice)
      const last = pairs.at(-1)
      if (last === undefined) return
      await this.#clearThese(pairs, fits)
      if (pairs.length < devicesPerSlice) return
      after = last
      await turn()
    }
  }

  async #clearNewest(): Promise<void> {
    const { alerts, closed } = this.#options
    const fits = this.#fits()
    for (let after = this.#lookedTo; !closed(); ) {
      const pairs = await alerts.newestPairs(after, devicesPerSlice)
      const last = pairs.at(-1)
      if (last === undefined) return
      await this.#clearThese(pairs, fits)
      if (pairs.length < devicesPerSlice) return
      after = last.alertId
      await turn()
    }
  }

  /** Targets are read once: many alerts have the same. */
  #fits(): Fits {
    const known = new Map<string, (device: JudgedDevice) => boolean>()
    return (target) => {
      const fits = known.get(target) ?? fitsTarget(JSON.parse(target) as RuleTarget)
      known.set(target, fits)
      return fits
    }
  }

  async #clearThese(pairs: readonly AlertedPair[], fits: Fits): Promise<void> {
    const { alerts, fleet } = this.#options
    const now = this.#options.now()
    const ids = [...new Set(pairs.map(({ deviceId }) => deviceId))]
    const found = new Map((await fleet.these(ids, now)).map((device) => [device.id, device]))
    for (const reason of ['maintenance', 'inactive', 'device_deleted'] as const) {
      const leavers = ids.filter((id) => (found.get(id)?.status ?? 'device_deleted') === reason)
      if (leavers.length > 0) await alerts.clear(leavers, reason, now)
    }
    const others = pairs.filter(({ deviceId, target }) => {
      const device = found.get(deviceId)
      return device?.status === 'active' && !fits(target)(device)
    })
    if (others.length > 0) await alerts.clearPairs(others, now)
  }
}
