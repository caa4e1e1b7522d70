/** GET /api/v1/admin/dashboard and its alias /api/v1/admin/stats: the system in numbers. */
import * as z from 'zod'
import * as alertResponses from '../../lib/alerts/responses.ts'
import type { Overview } from '../../lib/dashboard/overview.ts'
import * as dashboardResponses from '../../lib/dashboard/responses.ts'
import * as deviceResponses from '../../lib/devices/responses.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'
import * as telemetryResponses from '../../lib/telemetry/responses.ts'

export const documentation = () =>
  describeRoute({
    summary: 'Shows the system in numbers',
    description:
      'What is counted is up to 4 s old (in the cloud 15 s), the rest one second. Counts of a large fleet come more seldom.',
    aliases: {
      'GET /api/v1/admin/stats': {
        operationId: 'admin-stats',
        description: 'The same as `GET /api/v1/admin/dashboard`.',
      },
    },
    responses: {
      200: json(
        'Counts of devices and messages.',
        z.strictObject({
          status: fields.success,
          timestamp: fields.time.describe('When it was counted.'),
          devices: z.strictObject({
            total: fields.count,
            online: fields.count,
            offline: fields.count,
            by_status: z.strictObject({
              active: fields.count,
              inactive: fields.count,
              maintenance: fields.count,
            }),
            by_type: z.record(z.string(), z.int().min(1)),
          }),
          messages: z
            .strictObject({
              last_minute: fields.count,
              last_hour: fields.count,
              last_day: fields.count,
            })
            .nullable()
            .describe(
              'Readings by their time; null while the store is unavailable, and until they are counted.',
            ),
          messages_per_minute: z
            .array(
              z.strictObject({
                time: fields.time.describe('Begin of the minute.'),
                stored: fields.count,
                spooled: fields.count,
                rejected: fields.count,
              }),
            )
            .nullable()
            .describe(
              'Readings by the minute of their arrival, the last 60 minutes, oldest first; null where no process sees every message.',
            ),
          accounting: telemetryResponses.account
            .extend({
              difference: z.int().describe('received minus its parts: 0 unless something was lost.'),
            })
            .nullable()
            .describe('Readings since the first start; null while it cannot be read.'),
          storage: z.strictObject({
            backend: telemetryResponses.backend,
            status: z.enum(['healthy', 'unavailable']),
          }),
          broker: z.strictObject({
            kind: z.enum(['embedded', 'mosquitto', 'aws-iot', 'none']),
            connected: z.boolean(),
            connections: fields.count.nullable().describe('Null where the server cannot tell.'),
          }),
          spool: z
            .strictObject({ depth: fields.count, oldest_age_s: fields.count.nullable() })
            .nullable()
            .describe('Readings that wait for the time-series database; null while it cannot be read.'),
          dead_letters: z.strictObject({ count: fields.count }),
          alerts: z
            .strictObject({
              open: alertResponses.openCounts,
              opened_total: fields.count.describe('Alerts that were ever opened.'),
              newest: z
                .array(alertResponses.alert)
                .describe('The newest five that nobody has acknowledged, newest first.'),
            })
            .nullable()
            .describe('Null while they cannot be read.'),
          events: z
            .array(dashboardResponses.fleetEvent)
            .describe('The newest 20 of all devices, newest first.'),
          last_seen: z.array(deviceResponses.device).describe('The ten devices that were seen last.'),
        }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['GET /api/v1/admin/dashboard', 'GET /api/v1/admin/stats'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  overview: Overview
}

export const dashboard = ({ overview, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => reply(c, 200, await overview.read()))

export const handler = serve(dashboard, { overview: runtime.overview })
