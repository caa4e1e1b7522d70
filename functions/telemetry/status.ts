/** GET /api/v1/telemetry/status: whether readings can be stored and asked for, and of how many devices there are some. */
import type { Device } from '../../lib/devices/device.ts'
import type { Gate } from '../../lib/http/auth.ts'
import { endpoint, reply } from '../../lib/http/endpoint.ts'
import { lambda } from '../../lib/http/lambda.ts'
import { kept } from '../../lib/kept.ts'
import type { Log } from '../../lib/log.ts'
import * as runtime from '../../lib/runtime.ts'
import { accountView, type SpoolState } from '../../lib/telemetry/intake.ts'
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

/** Of the oldest message, s; 0 when nothing waits. */
const ageOf = ({ oldestAt }: SpoolState): number =>
  oldestAt === undefined ? 0 : Math.max(0, Math.round((Date.now() - oldestAt) / 1000))

export const telemetryStatus = ({ log, gate, telemetry, influx, exact, showAccounts }: Deps) => {
  /** What was counted, as it is now; undefined when that cannot be told. */
  const accounts = async () => {
    const [account, spool] = await Promise.all([telemetry.account(), telemetry.spool()])
    return {
      accounting: accountView(account, exact),
      ...(spool && {
        spool: {
          depth: spool.depth,
          oldest_age_s: spool.oldestAt === undefined ? null : ageOf(spool),
        },
      }),
    }
  }
  const stored = async () => {
    try {
      await telemetry.check()
      return { available: true, devices: await telemetry.countDevices() } as const
    } catch {
      return { available: false, devices: null } as const
    }
  }
  const ask = kept(askEveryMs, async () => {
    const [{ available, devices }, spool] = await Promise.all([
      stored(),
      telemetry.spool().catch(() => undefined),
    ])
    // Readings are taken as long as they can be spooled.
    const waits = spool !== undefined && (!available || ageOf(spool) > 1)
    return { available, devices, status: waits ? 'degraded' : available ? 'healthy' : 'unavailable' } as const
  })
  return endpoint(log, 'GET /api/v1/telemetry/status', gate.open(), async (c) => {
    const { available, devices, status } = await ask()
    const shown = showAccounts || (await gate.isAdmin(c))
    // What anybody may ask for is asked of the stores now and then; the accounts of an operator are those of now.
    const counted = shown ? await accounts().catch(() => undefined) : undefined
    return reply(c, 200, {
      status,
      backend: telemetry.backend,
      influxdb_available: telemetry.backend === 'influxdb' && available,
      ...(influx && { bucket: influx.bucket, organization: influx.org }),
      devices_with_telemetry: devices,
      ...counted,
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
