/** GET /health: can it take telemetry? 503 only when it cannot. */
import type { Device } from '../../lib/devices/device.ts'
import type { Gate } from '../../lib/http/auth.ts'
import { anybody, endpoint, reply } from '../../lib/http/endpoint.ts'
import { lambda } from '../../lib/http/lambda.ts'
import { kept } from '../../lib/kept.ts'
import type { Log } from '../../lib/log.ts'
import * as runtime from '../../lib/runtime.ts'
import type { Telemetry } from '../../lib/telemetry/telemetry.ts'
import { formatMillis } from '../../lib/telemetry/time.ts'
import { version } from '../../lib/version.ts'

type Check = { readonly status: 'ok' | 'failed' | 'warning'; readonly message?: string }

interface Deps {
  log: Log
  gate: Gate<Device>
  /** Rejects when the registry cannot be used. */
  registry: () => Promise<unknown>
  telemetry: Pick<Telemetry, 'check' | 'keeps'>
  /** What an operator should know though everything works. */
  warnings: Readonly<Record<string, string>>
  /** True where anybody who can connect may see the checks. */
  showChecks: boolean
}

/** Backends are asked at most this often, ms. */
const probeEveryMs = 15_000
const probeTimeoutMs = 5_000

const probed = async (probe: () => Promise<unknown>): Promise<Check> => {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<Check>((resolve) => {
    timer = setTimeout(resolve, probeTimeoutMs, { status: 'failed', message: 'did not answer in time' })
  })
  const check = probe().then(
    (): Check => ({ status: 'ok' }),
    (): Check => ({ status: 'failed', message: 'cannot be used' }),
  )
  return Promise.race([check, late]).finally(() => clearTimeout(timer))
}

export const health = ({ log, gate, registry, telemetry, warnings, showChecks }: Deps) => {
  const telemetryCheck = async (): Promise<Check> => {
    const store = await probed(() => telemetry.check())
    if (store.status !== 'failed' || !(await telemetry.keeps().catch(() => false))) return store
    return { status: 'warning', message: `the store ${store.message}; readings wait in the spool` }
  }
  const checksOf = kept(probeEveryMs, async (): Promise<Record<string, Check>> => {
    const [registryCheck, storeCheck] = await Promise.all([probed(registry), telemetryCheck()])
    const noted = Object.entries(warnings).map(
      ([name, message]) => [name, { status: 'warning', message }] as const,
    )
    return { registry: registryCheck, telemetry: storeCheck, ...Object.fromEntries(noted) }
  })
  return endpoint(log, 'GET /health', anybody, async (c) => {
    const checks = await checksOf()
    const states = Object.values(checks).map((check) => check.status)
    const status = states.includes('failed')
      ? 'unhealthy'
      : states.includes('warning')
        ? 'degraded'
        : 'healthy'
    if (status === 'unhealthy') c.get('headers')['Retry-After'] = String(probeEveryMs / 1000)
    const detailed = c.req.query('detailed') === 'true' && (showChecks || (await gate.isAdmin(c)))
    return reply(c, status === 'unhealthy' ? 503 : 200, {
      status,
      version,
      timestamp: formatMillis(Date.now()),
      ...(detailed ? { checks } : {}),
    })
  })
}

export const handler = lambda(async () => {
  const { loopback, tls, stage } = runtime.config()
  const { db } = await runtime.registry()
  const plain = stage === 'local' && !loopback && tls === undefined
  return health({
    log: runtime.log(),
    gate: await runtime.gate(),
    registry: () => db.$client.execute('SELECT 1'),
    telemetry: await runtime.telemetry(),
    warnings: plain ? { transport: 'listens beyond this machine without TLS: keys travel in clear' } : {},
    showChecks: stage === 'local' && loopback,
  })
})
