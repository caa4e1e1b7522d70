/** Elects the process whose bridge serves the broker: the one that holds the lease. The other processes stand by. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../../../lib/log.ts'
import type { Leases } from '../../../lib/registry/leases.ts'
import type { Bridge } from './bridge.ts'

export interface LeaderOptions {
  readonly leases: Leases
  /** Starts the bridge; called when this process has got the lease. */
  open(): Bridge
  /** Repairs accounts at the broker that could not be changed in time. */
  reconcile(): Promise<unknown>
  readonly log: Log
  /** How long a lease is valid, ms. */
  readonly ttlMs?: number
  /** Interval between renewals of the lease, ms. */
  readonly renewMs?: number
  /** Interval between two calls of `reconcile`, ms. */
  readonly reconcileMs?: number
}

export interface Leader {
  /** The bridge, while this process has the lease. */
  bridge(): Bridge | undefined
  /** Closes the bridge and gives the lease back. */
  close(): Promise<void>
}

const lease = 'mqtt-bridge'
/** A bridge that is not connected is looked at again after this time, ms. */
const reconnectCheckMs = 1000

export function startLeader(options: LeaderOptions): Leader {
  return new BridgeLeader(options)
}

class BridgeLeader implements Leader {
  private readonly options: LeaderOptions
  private readonly ttlMs: number
  private readonly renewMs: number
  private readonly reconcileMs: number
  private readonly closing = new AbortController()
  private readonly running: Promise<void>
  private current: Bridge | undefined
  /** Resolves when the bridge that was given up last is closed. */
  private lastClosed: Promise<void> = Promise.resolve()
  private giveUpTimer: NodeJS.Timeout | undefined
  private reconciledAt = 0

  constructor(options: LeaderOptions) {
    this.options = options
    this.ttlMs = options.ttlMs ?? 15_000
    this.renewMs = options.renewMs ?? 5000
    this.reconcileMs = options.reconcileMs ?? 30_000
    this.running = this.run()
  }

  bridge(): Bridge | undefined {
    return this.current
  }

  async close(): Promise<void> {
    this.closing.abort()
    await this.running
    clearTimeout(this.giveUpTimer)
    await Promise.all([this.current?.close(), this.lastClosed])
    await this.options.leases.release(lease).catch(() => undefined)
  }

  private async run(): Promise<void> {
    const { signal } = this.closing
    while (!signal.aborted) {
      await this.renew()
      if (this.current?.connected()) await this.reconcile()
      const isDisconnected = this.current?.connected() === false
      const waitMs = isDisconnected ? Math.min(reconnectCheckMs, this.renewMs) : this.renewMs
      await sleep(waitMs, undefined, { signal }).catch(() => undefined)
    }
  }

  /** Takes or renews the lease, and opens or gives up the bridge accordingly. */
  private async renew(): Promise<void> {
    const { leases, log, open } = this.options
    const asked = performance.now()
    try {
      if (!(await leases.take(lease, this.ttlMs))) {
        this.giveUp()
        return
      }
    } catch (error) {
      log.warn('the lease of the bridge could not be renewed', { error })
      return
    }
    // While the registry is unavailable the bridge works on, and stops just before another process can get the lease.
    const until = asked + this.ttlMs - this.renewMs / 2
    clearTimeout(this.giveUpTimer)
    this.giveUpTimer = setTimeout(() => this.giveUp(), until - performance.now())
    await this.lastClosed
    if (!this.closing.signal.aborted && performance.now() < until) this.current ??= open()
  }

  private giveUp(): void {
    clearTimeout(this.giveUpTimer)
    if (this.current === undefined) return
    this.options.log.warn('this process no longer holds the lease of the bridge and closes it')
    this.lastClosed = this.current.close()
    this.current = undefined
  }

  private async reconcile(): Promise<void> {
    if (performance.now() - this.reconciledAt < this.reconcileMs) return
    this.reconciledAt = performance.now()
    await this.options.reconcile().catch((error: unknown) => {
      this.options.log.warn('accounts at the broker could not be reconciled', { error })
    })
  }
}
