/** GET /api/v1/admin/alerts: alerts, newest first. */
import * as z from 'zod'
import { alertStates, alertView } from '../../lib/alerts/alert.ts'
import type { Alerts } from '../../lib/alerts/alerts.ts'
import { severity } from '../../lib/alerts/fields.ts'
import * as alertResponses from '../../lib/alerts/responses.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { queryOf } from '../../lib/http/validate.ts'
import { optionalParameter, pageCursor, pageLimit } from '../../lib/parameters.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

const idParameter = (what: string, description: string) =>
  z
    .string()
    .regex(/^\d{1,15}$/, `must be the id of ${what}`)
    .meta({ description })
    .transform(Number)

const Query = z.object({
  state: optionalParameter(z.enum(alertStates, 'must be open, acknowledged or cleared')),
  severity: optionalParameter(severity),
  device_id: optionalParameter(idParameter('a device', 'Only those of this device.')),
  rule_id: optionalParameter(idParameter('an alert rule', 'Only those of this rule.')),
  limit: optionalParameter(pageLimit(1000)),
  cursor: optionalParameter(pageCursor),
})

export const documentation = () =>
  describeRoute({
    summary: 'Lists alerts',
    description: 'Those that are cleared are kept for 90 days.',
    query: Query,
    exampleQuery: { state: 'open', limit: 20 },
    fieldDescriptions: {
      state: '`open`: only those that nobody has acknowledged; `acknowledged`: open, too, and known.',
      severity: 'Only those of this severity.',
    },
    responses: {
      200: json(
        'Newest first.',
        z.strictObject({
          status: fields.success,
          total_alerts: fields.count.describe('Alerts that fit, on all pages.'),
          open: alertResponses.openCounts,
          alerts: z.array(alertResponses.alert),
          next_cursor: fields.nextCursor,
        }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['GET /api/v1/admin/alerts'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  alerts: Pick<Alerts, 'list' | 'counts'>
  devices: Pick<Devices, 'findMany'>
}

export const listAlerts = ({ alerts, devices, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const { device_id: deviceId, rule_id: ruleId, limit = 100, cursor, ...filter } = queryOf(c, Query)
    const found = await alerts.list({ ...filter, deviceId, ruleId, limit: limit + 1, before: cursor })
    const page = found.alerts.slice(0, limit)
    const names = await devices.findMany(page.map((alert) => alert.deviceId))
    return reply(c, 200, {
      status: 'success',
      total_alerts: found.total,
      open: await alerts.counts(),
      alerts: page.map((alert) => alertView(alert, names.get(alert.deviceId)?.name ?? null)),
      ...(found.alerts.length > limit ? { next_cursor: String(page.at(-1)?.id) } : {}),
    })
  })

export const handler = serve(listAlerts, { alerts: runtime.alerts, devices: runtime.devices })
