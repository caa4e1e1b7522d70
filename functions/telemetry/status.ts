/** GET /api/v1/telemetry/status: whether readings can be stored and asked for, and of how many devices there are some. */
import type { Device } from '../../lib/devices/device.ts'
import type { Gate } from '../../lib/http/auth.ts'
import { endpoint, reply } from '../../lib/http/endpoint.ts'
import { lambda } from '../../lib/http/lambda.ts'
import { kept } from '../../lib/kept.ts'
import type { Log } from '../../lib/log.ts'
import * as runtime from '../../lib/runtime.ts'
import { accountView } from '../../lib/telemetry/intake.ts'
import type { Telemetry } from '../../lib/telemetry/telemetry.ts'

interface Deps {
  log: Log
  gate: Gate<Device>
  telemetry: Pick<Telemetry, 'backend' | 'check' | 'countDevices' | 'account' | 'spool'>
  /** Where InfluxDB keeps it. */
  influx: { readonly bucket: string; readonly org: string } | undefined
  /** See {@link accountView}. */
  exact: boolean
  /** True where anybody who can connect may see the accounts. */
  showAccounts: boolean
}

/** The store is asked at most this often, ms. */
const askEveryMs = 15_000

export const telemetryStatus = ({ log, gate, telemetry, influx, exact, showAccounts }: Deps) => {
  const ask = kept(askEveryMs, async () => {
    try {
      await telemetry.check()
      return { available: true, devices: await telemetry.countDevices() } as const
    } catch {
      return { available: false, devices: null } as const
    }
  })
  /** What was counted, as it is now; undefined when that cannot be told. */
  const accounts = async () => {
    const [account, spool] = await Promise.all([telemetry.account(), telemetry.spool()])
    return {
      accounting: accountView(account, exact),
      ...(spool && {
        spool: {
          depth: spool.depth,
          oldest_age_s:
            spool.oldestAt === undefined
              ? null
              : Math.max(0, Math.round((Date.now() - spool.oldestAt) / 1000)),
        },
      }),
    }
  }
  return endpoint(log).get('/api/v1/telemetry/status', gate.open(), async (c) => {
    const { available, devices } = await ask()
    const shown = showAccounts || (await gate.isAdmin(c))
    const counted = await accounts().catch(() => undefined)
    // Readings are taken as long as they can be spooled.
    const waits = counted?.spool !== undefined && (!available || (counted.spool.oldest_age_s ?? 0) > 1)
    return reply(c, 200, {
      status: waits ? 'degraded' : available ? 'healthy' : 'unavailable',
      backend: telemetry.backend,
      influxdb_available: telemetry.backend === 'influxdb' && available,
      ...(influx && { bucket: influx.bucket, organization: influx.org }),
      devices_with_telemetry: devices,
      ...(shown && counted),
    })
  })
}

export const handler = lambda(async () => {
  const { stage, loopback, influx, queue } = runtime.config()
  return telemetryStatus({
    log: runtime.log(),
    gate: await runtime.gate(),
    telemetry: await runtime.telemetry(),
    influx,
    exact: queue === undefined,
    showAccounts: stage === 'local' && loopback,
  })
})
