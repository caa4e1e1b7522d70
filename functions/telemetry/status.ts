/** GET /api/v1/telemetry/status: whether readings can be stored and asked for, and of how many devices there are some. */
import type { Device } from '../../lib/devices/device.ts'
import type { Gate } from '../../lib/http/auth.ts'
import { endpoint, reply } from '../../lib/http/endpoint.ts'
import { lambda } from '../../lib/http/lambda.ts'
import { kept } from '../../lib/kept.ts'
import type { Log } from '../../lib/log.ts'
import * as runtime from '../../lib/runtime.ts'
import type { Telemetry } from '../../lib/telemetry/telemetry.ts'

interface Deps {
  log: Log
  gate: Gate<Device>
  telemetry: Pick<Telemetry, 'backend' | 'check' | 'countDevices'>
  /** Where InfluxDB keeps it. */
  influx: { readonly bucket: string; readonly org: string } | undefined
}

/** The store is asked at most this often, ms. */
const askEveryMs = 15_000

export const telemetryStatus = ({ log, gate, telemetry, influx }: Deps) => {
  const ask = kept(askEveryMs, async () => {
    try {
      await telemetry.check()
      return { status: 'healthy', devices: await telemetry.countDevices() } as const
    } catch {
      return { status: 'unavailable', devices: null } as const
    }
  })
  return endpoint(log).get('/api/v1/telemetry/status', gate.open(), async (c) => {
    const { status, devices } = await ask()
    return reply(c, 200, {
      status,
      backend: telemetry.backend,
      influxdb_available: telemetry.backend === 'influxdb' && status === 'healthy',
      ...(influx && { bucket: influx.bucket, organization: influx.org }),
      devices_with_telemetry: devices,
    })
  })
}

export const handler = lambda(async () =>
  telemetryStatus({
    log: runtime.log(),
    gate: await runtime.gate(),
    telemetry: await runtime.telemetry(),
    influx: runtime.config().influx,
  }),
)
