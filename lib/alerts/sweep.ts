/**
 * What no reading tells: that a device is silent or offline, that too many warnings or dead letters came, that a `for` is over, and
 * that a device is not to be judged any more. A sweep looks at the whole fleet in slices, so that requests come in between.
 */
import { setImmediate as turn } from 'node:timers/promises'
import type { Count } from '../counts.ts'
import type { Log } from '../log.ts'
import type { Leases } from '../registry/leases.ts'
import type { StoredTimedRule, TimedAlerts, TimedFinding } from '../telemetry/embedded/timed-alerts.ts'
import type { Fleet, JudgedDevice } from './fleet.ts'
import { FleetWatch, slicesOf } from './fleet-watch.ts'
import { LeaverSweep } from './leaver-sweep.ts'
import type { DeadLetterCounts } from './letters.ts'
import { findingOf, makeReady, type ReadyRules } from './timed-rules.ts'

export interface AlertSweepOptions {
  readonly alerts: TimedAlerts
  readonly fleet: Pick<Fleet, 'after' | 'these' | 'blocks'>
  readonly letters: Pick<DeadLetterCounts, 'count'>
  readonly leases: Leases
  readonly log: Log
  /** Writes last-seen times that wait in memory. */
  readonly flush: () => Promise<void>
  /** Milliseconds since the epoch. */
  readonly now?: () => number
  readonly count?: Count | undefined
  /** Told how long a look at the fleet took, ms. */
  readonly ended?: ((ms: number) => void) | undefined
}

const lease = 'alerts-sweep'
/** A process that has ended keeps others from the work for so long, ms. */
const leaseMs = 20_000
/** A process that runs between requests looks for a `for` that is over so often, ms. */
const tickEveryMs = 5000
/** It looks for news of the fleet so often, ms; seldomer where a look takes more than this share of the time. */
const lookEveryMs = 10_000
const lookAtLeastEveryMs = 60_000
const share = 0.01
/** Readings that are on their way for so long count before the time that has passed, ms. */
const onTheWayMs = 3000
/** News that are written together. */
const findingsAtOnce = 1000
/** Rules and devices that are compared before requests come in between: about 2 ms. */
const looksAtOnce = 5000

export class AlertSweep {
  readonly #options: AlertSweepOptions
  readonly #now: () => number
  #timer: NodeJS.Timeout | undefined
  /** By performance.now(): when the next look is due. */
  #nextAt = performance.now() + lookEveryMs
  /** How long the last look took, ms. */
  #tookMs = 0
  #leasedAt = 0
  /** The last run, which the next one waits for. */
  #running: Promise<void> | undefined
  #closed = false
  #stored: readonly StoredTimedRule[] = []
  #rules: ReadyRules | undefined
  readonly #watch: FleetWatch
  readonly #leavers: LeaverSweep

  constructor(options: AlertSweepOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
    this.#watch = new FleetWatch(options)
    const { alerts, fleet } = options
    this.#leavers = new LeaverSweep({ alerts, fleet, now: this.#now, closed: () => this.#closed })
  }

  /** Works on, in a process that runs between requests, until {@link close}. */
  start(): void {
    if (this.#timer !== undefined || this.#closed) return
    this.#timer = setInterval(() => {
      if (this.#running !== undefined) return
      // A timer may come a moment early.
      const work = performance.now() >= this.#nextAt - tickEveryMs / 2 ? this.run() : this.tick()
      work.catch((error: unknown) => {
        if (!this.#closed) this.#options.log.warn('alerts could not be looked for', { error })
      })
    }, tickEveryMs)
    this.#timer.unref()
  }

  /** Looks at the fleet now, unless another process does. @throws {AppError} UNAVAILABLE: the next run does it. */
  run(): Promise<void> {
    return this.#alone(async () => {
      const began = performance.now()
      await this.#tick()
      await this.#look()
      const tookMs = performance.now() - began
      // The lesser of two: one look may have waited for other work, and the first one is at every device.
      const costMs = Math.min(tookMs, this.#tookMs)
      this.#tookMs = tookMs
      this.#nextAt = began + Math.min(Math.max(lookEveryMs, costMs / share), lookAtLeastEveryMs)
      this.#options.ended?.(tookMs)
    })
  }

  /** Opens and clears what is due by the time alone. */
  tick(): Promise<void> {
    return this.#alone(() => this.#tick())
  }

  async close(): Promise<void> {
    this.#closed = true
    clearInterval(this.#timer)
    if (this.#timer === undefined) return
    await this.#running?.catch(() => undefined)
    await this.#options.leases.release(lease).catch(() => undefined)
  }

  /** One run at a time: on a file, the lease lets every run of this process in. */
  #alone(work: () => Promise<void>): Promise<void> {
    const before = this.#running?.catch(() => undefined) ?? Promise.resolve()
    const run = before
      .then(() => this.#withLease(work))
      .finally(() => {
        if (this.#running === run) this.#running = undefined
      })
    this.#running = run
    return run
  }

  async #withLease(work: () => Promise<void>): Promise<void> {
    const { leases } = this.#options
    if (!(await leases.take(lease, leaseMs))) return
    this.#leasedAt = performance.now()
    try {
      await work()
    } finally {
      // A process that works on keeps it.
      if (this.#timer === undefined) await leases.release(lease)
    }
  }

  async #tick(): Promise<void> {
    const { alerts } = this.#options
    const now = this.#now() - onTheWayMs
    // A device that is not judged any more must not get an alert by the time alone.
    if (await alerts.isAnythingDue(now)) {
      await this.#leavers.clearDue(now)
      await alerts.tick(now)
    }
  }

  /** Rules are made ready when they have changed. */
  async #readyRules(): Promise<ReadyRules> {
    const stored = await this.#options.alerts.rules()
    if (stored === this.#stored && this.#rules !== undefined) return this.#rules
    this.#rules = await makeReady(stored)
    this.#stored = stored
    return this.#rules
  }

  async #look(): Promise<void> {
    const { letters, flush, alerts, count } = this.#options
    const rules = await this.#readyRules()
    await letters.count(rules.has('dead_letters'))
    if (rules.rules.length === 0) {
      // Without rules about time, only alerts of readings are to be cleared: where none is open, there is nothing to do.
      const [open] = await alerts.pairs({}, { deviceId: 0, ruleId: 0 }, 1)
      if (open === undefined) {
        count?.('AlertsOpen', 0)
        return
      }
    }
    if (rules.has('offline')) await flush()
    const { devices, blocks, judged } = await this.#watch.look(rules, this.#now(), () => this.#closed)
    await this.#judgeFleet(rules, devices)
    await this.#leavers.clear(blocks)
    if (!this.#closed) judged()
    if (count !== undefined) count('AlertsOpen', await alerts.countOpen())
  }

  /** @param devices ids of those to look at; undefined: all of which there is a rule. */
  async #judgeFleet(rules: ReadyRules, devices: readonly number[] | undefined): Promise<void> {
    const { fleet } = this.#options
    const { general, ofDevice } = rules
    if (general.length === 0) {
      // Rules that are about one device each need no look at the others.
      await this.#judgeThese(rules, devices?.filter((id) => ofDevice.has(id)) ?? [...ofDevice.keys()])
      return
    }
    if (devices !== undefined) {
      await this.#judgeThese(rules, devices)
      return
    }
    for (let after = 0; !this.#closed; ) {
      const now = this.#now()
      const slice = await fleet.after(after, now)
      const last = slice.at(-1)
      if (last === undefined) break
      await this.#judge(slice, rules, now)
      after = last.id
      await this.#pause()
    }
  }

  async #judgeThese(rules: ReadyRules, ids: readonly number[]): Promise<void> {
    for (const slice of slicesOf(ids)) {
      if (this.#closed) return
      const now = this.#now()
      await this.#judge(await this.#options.fleet.these(slice, now), rules, now)
      await this.#pause()
    }
  }

  /** Lets requests come in between, and keeps the lease. */
  async #pause(): Promise<void> {
    if (performance.now() - this.#leasedAt > leaseMs / 4) {
      await this.#options.leases.take(lease, leaseMs)
      this.#leasedAt = performance.now()
    }
    await turn()
  }

  /** @param now the time before the devices were read: what they do later is newer than what is said of them here. */
  async #judge(
    devices: readonly JudgedDevice[],
    { general, ofDevice, windows, has }: ReadyRules,
    now: number,
  ): Promise<void> {
    const { alerts } = this.#options
    const active = devices.filter(({ status }) => status === 'active')
    if (active.length === 0) return
    const counts = windows.map(({ kind, within }) => ({ kind, since: now - within }))
    const ids = active.map(({ id }) => id)
    const facts = await alerts.facts(ids, { arrivals: has('no_data'), counts })
    let found: TimedFinding[] = []
    let looks = 0
    for (const device of active) {
      for (const rules of [general, ofDevice.get(device.id) ?? []])
        for (const rule of rules) {
          looks += 1
          if (looks % looksAtOnce === 0) await turn()
          const finding = findingOf(rule, device, facts, now)
          if (finding !== undefined) found.push(finding)
        }
      if (found.length < findingsAtOnce) continue
      await alerts.judge(found)
      found = []
    }
    if (found.length > 0) await alerts.judge(found)
  }
}
