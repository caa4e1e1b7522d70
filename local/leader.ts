/** One bridge serves a broker, however many processes there are: the one with the lease. The others stand by. */
import type { Log } from '../lib/log.ts'
import type { Leases } from '../lib/registry/leases.ts'
import type { Bridge } from './bridge.ts'

export interface LeaderOptions {
  readonly leases: Leases
  /** Begins to work; called when the lease is taken. */
  open(): Bridge
  /** Makes right at the broker what could not be told in time. */
  settle(): Promise<unknown>
  readonly log: Log
  /** How long a lease holds, how often it is renewed, and how often the broker's side is settled, ms. */
  readonly ttlMs?: number
  readonly renewMs?: number
  readonly settleMs?: number
}

export interface Leader {
  /** The bridge, while this process has the lease. */
  bridge(): Bridge | undefined
  close(): Promise<void>
}

const lease = 'mqtt-bridge'

export function startLeader(options: LeaderOptions): Leader {
  const { leases, log, ttlMs = 15_000, renewMs = 5000, settleMs = 30_000 } = options
  let bridge: Bridge | undefined
  let closing: Promise<void> = Promise.resolve()
  let giveUp: NodeJS.Timeout | undefined
  let settledAt = 0
  let closed = false
  let wake = () => {}

  const settle = async () => {
    if (performance.now() - settledAt < settleMs) return
    settledAt = performance.now()
    await options.settle().catch((error: unknown) => {
      log.warn('accounts at the broker could not be settled', { error })
    })
  }
  const end = () => {
    clearTimeout(giveUp)
    if (bridge === undefined) return
    log.warn('another process serves the broker from here on')
    closing = bridge.close()
    bridge = undefined
  }
  const look = async () => {
    const asked = performance.now()
    let until = 0
    try {
      if (await leases.take(lease, ttlMs)) until = asked + ttlMs - renewMs / 2
      else end()
    } catch (error) {
      log.warn('the lease of the bridge could not be renewed', { error })
    }
    if (until > 0) {
      // Without a registry, also one that hangs, it works on until shortly before another one can have the lease.
      clearTimeout(giveUp)
      giveUp = setTimeout(end, until - performance.now())
      await closing
      if (!closed && performance.now() < until) bridge ??= options.open()
    }
    if (bridge?.connected()) await settle()
  }
  const run = async () => {
    while (!closed) {
      await look()
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, bridge?.connected() === false ? Math.min(1000, renewMs) : renewMs)
        wake = () => {
          clearTimeout(timer)
          resolve()
        }
        if (closed) wake()
      })
    }
  }
  const running = run()

  return {
    bridge: () => bridge,
    async close() {
      closed = true
      wake()
      await running
      clearTimeout(giveUp)
      await Promise.all([bridge?.close(), closing])
      await leases.release(lease).catch(() => undefined)
    },
  }
}
