/** Called by a schedule: deletes what is older than it is kept. */
import type { Alerts } from '../../lib/alerts/alerts.ts'
import type { DeliveryStore } from '../../lib/commands/delivery-store.ts'
import type { DeviceRetention } from '../../lib/devices/device-retention.ts'
import type { Log } from '../../lib/log.ts'
import type { Leases } from '../../lib/registry/leases.ts'
import * as runtime from '../../lib/runtime.ts'
import { serveEvents } from '../../lib/serve.ts'
import type { Deletions } from '../../lib/telemetry/embedded/deletions.ts'
import type { Pruning } from '../../lib/telemetry/embedded/pruning.ts'

const lease = 'system-retention'
/** As long as the function may take, ms. */
const leaseMs = 120_000
/** Time for alerts, for commands, for devices, and for telemetry, ms: together below the time limit of the function. */
const partMs = { alerts: 10_000, commands: 10_000, devices: 30_000, telemetry: 60_000 }

interface Deps {
  log: Log
  leases: Leases
  alerts: Pick<Alerts, 'prune'>
  commands: Pick<DeliveryStore, 'prune'>
  devices: Pick<DeviceRetention, 'run'>
  telemetry: Pick<Pruning, 'run'>
  deletions: Pick<Deletions, 'prune'>
}

const pruneCommands = async (commands: Deps['commands'], until: number): Promise<boolean> => {
  while (performance.now() < until) if (!(await commands.prune())) return true
  return false
}

/** @returns which parts are ready, and which the next run goes on with; undefined when another process is at it. */
export const keepRetention =
  ({ log, leases, alerts, commands, devices, telemetry, deletions }: Deps) =>
  async (): Promise<Record<keyof typeof partMs, boolean> | undefined> => {
    if (!(await leases.take(lease, leaseMs))) return undefined
    const until = (part: keyof typeof partMs) => performance.now() + partMs[part]
    try {
      await deletions.prune()
      const ready = {
        alerts: await alerts.prune(until('alerts')),
        commands: await pruneCommands(commands, until('commands')),
        devices: await devices.run(until('devices')),
        telemetry: await telemetry.run(until('telemetry')),
      }
      if (Object.values(ready).includes(false)) log.info('more is too old than one run deletes', ready)
      return ready
    } finally {
      await leases.release(lease)
    }
  }

export const handler = serveEvents(keepRetention, {
  leases: runtime.leases,
  alerts: runtime.alerts,
  commands: runtime.commandRetention,
  devices: runtime.deviceRetention,
  telemetry: runtime.telemetryPruning,
  deletions: runtime.deletions,
})
