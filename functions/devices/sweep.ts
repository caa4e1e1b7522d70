/** Called by a schedule: finds devices that have fallen silent, and keys that expire. */
import type { Devices } from '../../lib/devices/devices.ts'
import type { KeyExpiry } from '../../lib/devices/key-expiry.ts'
import type { PresenceSweep } from '../../lib/devices/presence-sweep.ts'
import type { Log } from '../../lib/log.ts'
import type { Leases } from '../../lib/registry/leases.ts'
import * as runtime from '../../lib/runtime.ts'
import { webhookWaker } from '../../lib/runtime-webhooks.ts'
import { serveEvents } from '../../lib/serve.ts'
import type { Waker } from '../../lib/webhooks/waker.ts'

interface Deps {
  log: Log
  leases: Leases
  devices: Pick<Devices, 'flush' | 'correctTimes'>
  presence: Pick<PresenceSweep, 'run'>
  keys: Pick<KeyExpiry, 'run'>
  /** Undefined where webhooks are told without it. */
  waker?: Waker | undefined
}

const lease = 'devices-sweep'
/** Longer than a run may take, ms. */
const leaseMs = 60_000

/** @returns undefined when another process is at it. */
export const sweepDevices =
  ({ log, leases, devices, presence, keys, waker }: Deps) =>
  async (): Promise<{ changed: number; expired: number } | undefined> => {
    if (!(await leases.take(lease, leaseMs))) return undefined
    try {
      // The keys come first: a session that has to end must not wait for a large fleet.
      const [ended] = await Promise.allSettled([keys.run()])
      await devices.flush()
      await devices.correctTimes()
      const changed = await presence.run()
      if (changed > 0) await waker?.wake()
      // A broker that is away keeps keys from their end, but not devices from theirs.
      if (ended.status === 'rejected') throw ended.reason
      const expired = ended.value
      if (changed + expired > 0) log.info('devices swept', { changed, expired })
      return { changed, expired }
    } finally {
      await leases.release(lease)
    }
  }

export const handler = serveEvents(sweepDevices, {
  leases: runtime.leases,
  devices: runtime.devices,
  presence: runtime.presenceSweep,
  keys: runtime.keyExpiry,
  waker: webhookWaker,
})
