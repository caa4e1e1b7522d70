/** GET /health and GET /status: tell whether telemetry can be taken; 503 only when it cannot. */
import pTimeout from 'p-timeout'
import * as z from 'zod'
import { endpoint } from '../../lib/http/endpoint.ts'
import { errorResponse } from '../../lib/http/error-schema.ts'
import { namesLoopback } from '../../lib/http/host.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { formatMillis } from '../../lib/iso-time.ts'
import { memoizeFor } from '../../lib/memoize-for.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'
import type { ArrivalClock } from '../../lib/telemetry/arrival-clock.ts'
import type { Telemetry } from '../../lib/telemetry/telemetry.ts'
import { version } from '../../lib/version.ts'

interface Check {
  readonly status: 'ok' | 'failed' | 'warning'
  readonly message?: string | undefined
}

export const documentation = () => {
  const health = z
    .strictObject({
      status: z.enum(['healthy', 'degraded', 'unhealthy']),
      version: z.string(),
      timestamp: fields.time,
      checks: z
        .record(
          z.string(),
          z.strictObject({ status: z.enum(['ok', 'failed', 'warning']), message: z.string().optional() }),
        )
        .optional(),
    })
    .meta({ id: 'Health' })
  return describeRoute({
    summary: 'Tells whether telemetry can be taken',
    aliases: {
      'GET /status': {
        operationId: 'system-status',
        description: 'The same as `GET /health?detailed=true`.',
      },
    },
    otherParameters: {
      detailed: {
        in: 'query',
        description: '`true` shows each check, to operators and on loopback.',
        schema: { type: 'string' },
      },
    },
    exampleQuery: { detailed: 'true' },
    responses: {
      200: json('It can be taken.', health),
      503: json(
        'It cannot be taken, or the admin token that was sent cannot be checked.',
        z.union([health, errorResponse]),
        'Retry-After',
      ),
    },
    errors: [401],
  })
}

export const route = defineRoute({
  addresses: ['GET /health', 'GET /status'],
  access: 'none',
  optional: 'admin',
  limit: 'uncounted',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  /** Rejects when the registry cannot be used. */
  registry: () => Promise<unknown>
  telemetry: Pick<Telemetry, 'check' | 'checkQueries' | 'acceptsDuringOutage' | 'lastArrival'>
  clock: Pick<ArrivalClock, 'jump'>
  /** Notes for operators about the settings, by name; they do not stop anything from working. */
  warnings: Readonly<Record<string, string>>
  /** True where anybody who reaches the server as a loopback address may see the checks. */
  showChecks: boolean
}

/** Backends are probed at most this often, ms. */
const probeEveryMs = 15_000
const probeTimeoutMs = 5_000

/** Runs a probe and returns a check without the text of the error, which may hold secrets. */
const checkBy = (probe: () => Promise<unknown>): Promise<Check> =>
  pTimeout<Check, Check>(
    probe().then(
      () => ({ status: 'ok' }),
      () => ({ status: 'failed', message: 'cannot be used' }),
    ),
    {
      milliseconds: probeTimeoutMs,
      fallback: () => ({ status: 'failed', message: 'did not answer in time' }),
    },
  )

/** A store that is unavailable is only a warning while readings can be spooled. */
const telemetryCheck = async (telemetry: Deps['telemetry']): Promise<Check> => {
  const store = await checkBy(() => telemetry.check())
  if (store.status !== 'failed' || !(await telemetry.acceptsDuringOutage().catch(() => false))) return store
  return { status: 'warning', message: `the store ${store.message}; readings wait in the spool` }
}

/** Tells that stored readings cannot be read; nothing while they can. Readings are still taken. */
const queriesCheck = async (telemetry: Deps['telemetry']): Promise<Check | undefined> => {
  const { status } = await checkBy(() => telemetry.checkQueries())
  return status === 'ok' ? undefined : { status: 'warning', message: 'stored readings cannot be read' }
}

/** Arrivals that are further ahead than this came while the clock was wrong, s. */
const aheadS = 5

/** Tells that the clock of this server was set; nothing while it was right. */
const clockCheck = async ({
  clock,
  telemetry,
}: Pick<Deps, 'clock' | 'telemetry'>): Promise<Check | undefined> => {
  const { jump } = clock
  const lastArrival = await telemetry.lastArrival().catch(() => 0)
  const ahead = Math.round((lastArrival - Date.now()) / 1000)
  const faults = [
    ...(jump === undefined
      ? []
      : [
          `went ${jump.by < 0 ? 'back' : 'forward'} by ${Math.round(Math.abs(jump.by) / 1000)} s, noticed at ${formatMillis(jump.at)}`,
        ]),
    ...(ahead > aheadS
      ? [`was ahead before: the newest message has a time of arrival ${ahead} s from now`]
      : []),
  ]
  if (faults.length === 0) return undefined
  return { status: 'warning', message: `the clock of this server ${faults.join(', and ')}` }
}

const overallStatus = (checks: Readonly<Record<string, Check>>) => {
  const states = Object.values(checks).map((check) => check.status)
  if (states.includes('failed')) return 'unhealthy'
  return states.includes('warning') ? 'degraded' : 'healthy'
}

export const health = ({ log, access, registry, telemetry, clock, warnings, showChecks }: Deps) => {
  const settingChecks: Record<string, Check> = Object.fromEntries(
    Object.entries(warnings).map(([name, message]) => [name, { status: 'warning', message }]),
  )
  const runChecks = memoizeFor(probeEveryMs, async (): Promise<Record<string, Check>> => {
    const [registryCheck, storeCheck, queriesFault, clockFault] = await Promise.all([
      checkBy(registry),
      telemetryCheck(telemetry),
      queriesCheck(telemetry),
      clockCheck({ clock, telemetry }),
    ])
    return {
      registry: registryCheck,
      telemetry: storeCheck,
      ...(queriesFault && { queries: queriesFault }),
      ...(clockFault && { clock: clockFault }),
      ...settingChecks,
    }
  })
  return endpoint(route, { log, access }, async (c, reply) => {
    const checks = await runChecks()
    const status = overallStatus(checks)
    if (status === 'unhealthy') c.get('headers')['Retry-After'] = String(probeEveryMs / 1000)
    const asked = c.req.path === '/status' || c.req.query('detailed') === 'true'
    const detailed = asked && ((showChecks && namesLoopback(c)) || (await access.isAdmin(c)))
    return reply(c, status === 'unhealthy' ? 503 : 200, {
      status,
      version,
      timestamp: formatMillis(Date.now()),
      ...(detailed ? { checks } : {}),
    })
  })
}

const settingWarnings = (): Deps['warnings'] => {
  const { loopback, tls, stage } = runtime.config()
  const isPlain = stage === 'local' && !loopback && tls === undefined
  return isPlain ? { transport: 'listens beyond this machine without TLS: keys travel in clear' } : {}
}

export const handler = serve(health, {
  registry: async () => {
    const { db } = await runtime.registry()
    return () => db.$client.execute('SELECT 1')
  },
  telemetry: runtime.telemetry,
  clock: runtime.clock,
  warnings: settingWarnings,
  showChecks: () => runtime.config().stage === 'local' && runtime.config().loopback,
})
