/** GET /api/v1/telemetry/status: whether readings can be stored and queried, and how many devices have some. */
import * as z from 'zod'
import { endpoint } from '../../lib/http/endpoint.ts'
import { namesLoopback } from '../../lib/http/host.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { memoizeFor } from '../../lib/memoize-for.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'
import { accountView } from '../../lib/telemetry/account.ts'
import * as telemetryResponses from '../../lib/telemetry/responses.ts'
import { type SpoolState, spoolAgeS, spoolView } from '../../lib/telemetry/spool.ts'
import type { Telemetry } from '../../lib/telemetry/telemetry.ts'

export const documentation = () =>
  describeRoute({
    summary: 'Tells whether telemetry can be stored and read',
    responses: {
      200: json(
        'The state of the store, checked at most every 15 s.',
        z.strictObject({
          status: z.enum(['healthy', 'degraded', 'unavailable']),
          backend: telemetryResponses.backend,
          influxdb_available: z.boolean(),
          bucket: z.string().optional(),
          organization: z.string().optional(),
          devices_with_telemetry: fields.count.nullable().describe('Null while it is unavailable.'),
          accounting: telemetryResponses.account
            .optional()
            .describe('Readings since the first start; for admins.'),
          spool: z
            .strictObject({ depth: fields.count, oldest_age_s: fields.count.nullable() })
            .optional()
            .describe('Readings that wait for the time-series database; for admins.'),
        }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['GET /api/v1/telemetry/status'],
  access: 'none',
  optional: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  telemetry: Pick<Telemetry, 'backend' | 'check' | 'countDevices' | 'account' | 'spool'>
  /** Bucket and organization of InfluxDB; undefined with the embedded store. */
  influx: { readonly bucket: string; readonly org: string } | undefined
  /** See {@link accountView}. */
  exact: boolean
  /** True where anybody who can connect may see the accounts. */
  showAccounts: boolean
}

/** The store is asked at most this often, ms. */
const askEveryMs = 15_000

const askStore = async (telemetry: Deps['telemetry']) => {
  try {
    await telemetry.check()
    return { available: true, devices: await telemetry.countDevices() }
  } catch {
    return { available: false, devices: null }
  }
}

const statusOf = (available: boolean, spool: SpoolState | undefined) => {
  // Devices can go on sending as long as readings can be spooled.
  const waits = spool !== undefined && (!available || spoolAgeS(spool) > 1)
  if (waits) return 'degraded'
  return available ? 'healthy' : 'unavailable'
}

/** Accounting and spool as they are now. */
const accountsOf = async (telemetry: Deps['telemetry'], exact: boolean) => {
  const [account, spool] = await Promise.all([telemetry.account(), telemetry.spool()])
  return {
    accounting: accountView(account, exact),
    ...(spool && { spool: spoolView(spool) }),
  }
}

export const telemetryStatus = ({ log, access, telemetry, influx, exact, showAccounts }: Deps) => {
  const askedStatus = memoizeFor(askEveryMs, async () => {
    const [{ available, devices }, spool] = await Promise.all([
      askStore(telemetry),
      telemetry.spool().catch(() => undefined),
    ])
    return { available, devices, status: statusOf(available, spool) } as const
  })
  return endpoint(route, { log, access }, async (c, reply) => {
    const { available, devices, status } = await askedStatus()
    const isShown = (showAccounts && namesLoopback(c)) || (await access.isAdmin(c))
    // Operators get current accounts; the rest of the answer may be some seconds old, since anybody may ask for it.
    const accounts = isShown ? await accountsOf(telemetry, exact).catch(() => undefined) : undefined
    return reply(c, 200, {
      status,
      backend: telemetry.backend,
      influxdb_available: telemetry.backend === 'influxdb' && available,
      ...(influx && { bucket: influx.bucket, organization: influx.org }),
      devices_with_telemetry: devices,
      ...accounts,
    })
  })
}

export const handler = serve(telemetryStatus, {
  telemetry: runtime.telemetry,
  influx: () => runtime.config().influx,
  exact: () => runtime.config().queue === undefined,
  showAccounts: () => runtime.config().stage === 'local' && runtime.config().loopback,
})
