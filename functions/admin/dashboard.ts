/** GET /api/v1/admin/dashboard and its alias /api/v1/admin/stats: the fleet in numbers. */
import { type Device, deviceView } from '../../lib/devices/device.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import type { Gate } from '../../lib/http/auth.ts'
import { endpoint, reply } from '../../lib/http/endpoint.ts'
import { lambda } from '../../lib/http/lambda.ts'
import { kept } from '../../lib/kept.ts'
import type { Log } from '../../lib/log.ts'
import * as runtime from '../../lib/runtime.ts'
import type { Telemetry } from '../../lib/telemetry/telemetry.ts'
import { formatMillis } from '../../lib/telemetry/time.ts'

interface Deps {
  log: Log
  gate: Gate<Device>
  devices: Devices
  telemetry: Telemetry
}

/** Counting is work: it is done at most this often, ms. */
const countEveryMs = 15_000
const msPerMinute = 60_000

export const dashboard = ({ log, gate, devices, telemetry }: Deps) => {
  const numbers = kept(countEveryMs, async () => {
    const now = Date.now()
    const since = (minutes: number) => telemetry.countSince(BigInt(now - minutes * msPerMinute) * 1_000_000n)
    const healthy = telemetry.check().then(
      () => true,
      () => false,
    )
    if (!(await healthy)) return { now, summary: await devices.summary(), messages: null }
    const [summary, minute, hour, day] = await Promise.all([
      devices.summary(),
      since(1),
      since(60),
      since(1440),
    ])
    return { now, summary, messages: { last_minute: minute, last_hour: hour, last_day: day } }
  })
  return endpoint(
    log,
    ['GET /api/v1/admin/dashboard', 'GET /api/v1/admin/stats'],
    gate.admin(),
    async (c) => {
      const { now, summary, messages } = await numbers()
      const { total, byStatus, byType, online, lastSeen } = summary
      return reply(c, 200, {
        status: 'success',
        timestamp: formatMillis(now),
        devices: { total, online, offline: total - online, by_status: byStatus, by_type: byType },
        messages,
        storage: { backend: telemetry.backend, status: messages === null ? 'unavailable' : 'healthy' },
        last_seen: lastSeen.map(deviceView),
      })
    },
  )
}

export const handler = lambda(async () =>
  dashboard({
    log: runtime.log(),
    gate: await runtime.gate(),
    devices: await runtime.devices(),
    telemetry: await runtime.telemetry(),
  }),
)
