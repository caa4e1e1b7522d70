/**
 * Works off fleet commands in slices. Of all processes on a registry the one that holds the lease does it; what it had done when
 * it was killed stands in the registry, and the next one goes on from there.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../log.ts'
import type { Leases } from '../registry/leases.ts'
import type { Commands } from './commands.ts'
import { nextStep, type Results, type Step } from './fleet-step.ts'
import type { FleetRow, FleetStore } from './fleet-store.ts'

export interface FleetRunnerOptions {
  readonly store: FleetStore
  readonly commands: Pick<Commands, 'createMany' | 'cancelFleet' | 'deliver'>
  readonly leases: Leases
  readonly log: Log
  /** Milliseconds since the epoch. */
  readonly now?: () => number
}

const lease = 'fleet-commands'
/** Longer than one slice takes, ms. */
const leaseMs = 15_000
/** A process that runs looks for new fleet commands of other processes so often, ms. */
const lookEveryMs = 5000

/** When a fleet command has its next step. */
interface Next {
  /** ms until something is to be done whatever devices answer; undefined when there is no such thing. */
  readonly dueMs?: number | undefined
  /** ms until it is to be looked at again; undefined when it is closed. */
  readonly waitMs?: number | undefined
}

const atOnce: Next = { dueMs: 0, waitMs: 0 }

const noResults: Results = { unfinished: 0, succeeded: 0, failed: 0 }

export class FleetRunner {
  readonly #options: Required<FleetRunnerOptions>
  readonly #closing = new AbortController()
  /** Ends the current pause of {@link start}. */
  #waking = new AbortController()
  #running: Promise<void> | undefined

  constructor(options: FleetRunnerOptions) {
    this.#options = { now: Date.now, ...options }
  }

  /** Works on, in a process that runs between requests, until {@link close}. */
  start(): void {
    this.#running ??= this.#run()
  }

  /** Looks at once whether there is something to do. Where {@link start} was not called, it does it for at most `ms`. */
  async wake(ms: number): Promise<void> {
    if (this.#running === undefined) await this.advance(ms)
    else this.#waking.abort()
  }

  /**
   * Works until nothing can be done without answers of devices, or the time is over.
   * @returns ms until there may be something to do; undefined when no fleet command is open, or another process works on them.
   */
  async advance(ms: number): Promise<number | undefined> {
    const { leases, store, now } = this.#options
    const until = now() + ms
    for (;;) {
      const open = await store.open()
      if (open.length === 0) return undefined
      if (!(await leases.take(lease, leaseMs))) return undefined
      const { dueMs, waitMs } = await this.#stepEach(open)
      const isOver = this.#closing.signal.aborted || dueMs === undefined || now() + dueMs > until
      // A process that works on keeps the lease as long as something is open.
      if (isOver && (this.#running === undefined || waitMs === undefined)) await leases.release(lease)
      if (isOver) return waitMs
      await sleep(dueMs, undefined, { signal: this.#closing.signal }).catch(() => undefined)
    }
  }

  /** Ends after the slice that is under way. */
  async close(): Promise<void> {
    this.#closing.abort()
    this.#waking.abort()
    if (this.#running === undefined) return
    await this.#running
    await this.#options.leases.release(lease).catch(() => undefined)
  }

  async #run(): Promise<void> {
    const { log } = this.#options
    while (!this.#closing.signal.aborted) {
      this.#waking = new AbortController()
      const { signal } = this.#waking
      const waitMs = await this.advance(0).catch((error: unknown) => {
        log.warn('fleet commands could not be worked off', { error })
        return undefined
      })
      await sleep(Math.min(waitMs ?? lookEveryMs, lookEveryMs), undefined, { signal }).catch(() => undefined)
    }
  }

  /** One step of each. */
  async #stepEach(open: readonly FleetRow[]): Promise<Next> {
    const next: Next[] = []
    const failures: unknown[] = []
    // One that fails must not keep the others from their turn.
    for (const row of open)
      await this.#step(row).then(
        (one) => next.push(one),
        (error: unknown) => failures.push(error),
      )
    if (failures.length > 0) throw failures[0]
    const soonest = (times: readonly (number | undefined)[]) => {
      const known = times.filter((ms) => ms !== undefined)
      return known.length === 0 ? undefined : Math.min(...known)
    }
    return {
      dueMs: soonest(next.map(({ dueMs }) => dueMs)),
      waitMs: soonest(next.map(({ waitMs }) => waitMs)),
    }
  }

  async #step(row: FleetRow): Promise<Next> {
    const { store, log, now } = this.#options
    const isOnlyReleasing = row.status === 'running' && row.failedShare === null && row.released < row.targets
    const results = isOnlyReleasing ? noResults : await store.results(row)
    const step = nextStep(row, results, now())
    switch (step.do) {
      case 'wait':
        return { waitMs: step.ms }
      case 'pause':
        return { waitMs: step.ms, dueMs: step.ms }
      case 'release':
        await this.#release(row, step)
        return atOnce
      case 'go on':
        await store.goOn(row)
        return atOnce
      case 'abort':
        log.warn('fleet command aborted', { fleet_command_id: row.fleetCommandId, reason: step.reason })
        await store.end(row.fleetCommandId, 'aborted', step.reason)
        return atOnce
      case 'finish':
        if (await store.end(row.fleetCommandId, 'finished')) await store.close({ ...row, status: 'finished' })
        return {}
      case 'close':
        // A slice may have come between the end and the cancellation by whoever ended it.
        await this.#options.commands.cancelFleet(row.fleetCommandId)
        await store.close(row)
        return {}
    }
  }

  async #release(row: FleetRow, { count, paidUntil }: Extract<Step, { do: 'release' }>): Promise<void> {
    const { store, commands, now } = this.#options
    const { all, served } = await store.slice(row, count)
    const { refused } = await commands.createMany(
      all.filter((id) => !served.has(id)),
      {
        command: row.command,
        params: row.params === null ? null : (JSON.parse(row.params) as unknown),
        channel: row.channel,
        // All devices have the same time to answer, whenever their turn is.
        ttlS: Math.max(1, Math.ceil((row.expiresAt - now()) / 1000)),
        maxAttempts: row.maxAttempts,
        fleetCommandId: row.fleetCommandId,
      },
    )
    if (refused.length > 0)
      this.#options.log.warn('devices are left out of a fleet command', {
        fleet_command_id: row.fleetCommandId,
        devices: refused.length,
      })
    await store.noteReleased(row, all.length, paidUntil)
    if (served.size > 0) await commands.deliver([...served], { kind: 'created' })
  }
}
