/** GET /api/v1/admin/alerts/{id}: one alert with what happened to it. */
import * as z from 'zod'
import type { Alerts } from '../../lib/alerts/alerts.ts'
import * as alertResponses from '../../lib/alerts/responses.ts'
import { shownAlert } from '../../lib/alerts/shown-alert.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { idOf } from '../../lib/http/validate.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

export const documentation = () =>
  describeRoute({
    summary: 'Shows an alert with its history',
    responses: {
      200: json('The alert.', z.strictObject({ status: fields.success, alert: alertResponses.shownAlert })),
    },
  })

export const route = defineRoute({
  addresses: ['GET /api/v1/admin/alerts/:id'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  alerts: Pick<Alerts, 'find'>
  devices: Pick<Devices, 'find'>
}

export const showAlert = ({ alerts, devices, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const alert = await shownAlert(idOf(c, 'alert'), { alerts, devices })
    return reply(c, 200, { status: 'success', alert })
  })

export const handler = serve(showAlert, { alerts: runtime.alerts, devices: runtime.devices })
