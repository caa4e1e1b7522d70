/** Called by a schedule: goes on with large deletions, and empties the spool where no process does between requests. */
import type { Devices } from '../../lib/devices/devices.ts'
import type { Log } from '../../lib/log.ts'
import type { Leases } from '../../lib/registry/leases.ts'
import * as runtime from '../../lib/runtime.ts'
import { serveEvents } from '../../lib/serve.ts'
import type { Deletions } from '../../lib/telemetry/embedded/deletions.ts'
import type { Intake } from '../../lib/telemetry/intake/intake.ts'
import type { TelemetryReader } from '../../lib/telemetry/telemetry-reader.ts'

const lease = 'telemetry-sweep'
/** As long as the function may take, ms. */
const leaseMs = 58_000
/** Below that, and below the interval of the schedule, ms. */
const workMs = 45_000

interface Deps {
  log: Log
  leases: Leases
  devices: Pick<Devices, 'findDeleted' | 'forgetDeleted'>
  telemetry: Pick<TelemetryReader, 'count'>
  deletions: Pick<Deletions, 'run'>
  spool: Pick<Intake, 'emptySpool'> | undefined
}

/** @returns how many deletions were finished; undefined when another process is at it. */
export const sweepTelemetry =
  ({ log, leases, devices, telemetry, deletions, spool }: Deps) =>
  async (): Promise<number | undefined> => {
    if (!(await leases.take(lease, leaseMs))) return undefined
    const until = performance.now() + workMs
    try {
      const finished = await deletions.run(until)
      for (const { id, deviceId, deleted } of finished) {
        log.info('a deletion is finished', { deletion_id: id, device_id: deviceId, deleted })
        // A deleted device is listed as long as it has readings.
        if ((await devices.findDeleted(deviceId)) && (await telemetry.count(deviceId)) === 0)
          await devices.forgetDeleted(deviceId)
      }
      await spool?.emptySpool(until)
      return finished.length
    } finally {
      await leases.release(lease)
    }
  }

export const handler = serveEvents(sweepTelemetry, {
  leases: runtime.leases,
  devices: runtime.devices,
  telemetry: runtime.telemetryReader,
  deletions: runtime.deletions,
  spool: runtime.spoolToEmpty,
})
