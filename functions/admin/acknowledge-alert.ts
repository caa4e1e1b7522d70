/** POST /api/v1/admin/alerts/{id}/acknowledge: an operator knows of an open alert. */
import * as z from 'zod'
import type { Alerts } from '../../lib/alerts/alerts.ts'
import { note } from '../../lib/alerts/fields.ts'
import * as alertResponses from '../../lib/alerts/responses.ts'
import { shownAlert } from '../../lib/alerts/shown-alert.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import { notAnObject } from '../../lib/devices/fields.ts'
import { AppError } from '../../lib/errors.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { idOf, optionalBody } from '../../lib/http/validate.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

const Body = z.object({ note: note.nullish() }, notAnObject)

export const documentation = () =>
  describeRoute({
    summary: 'Acknowledges an alert',
    description:
      'It stays open until its condition ends. An alert that is acknowledged already stays as it is; one that is cleared answers 409.',
    body: { schema: Body, required: false, examples: { note: { note: 'The fan is being replaced.' } } },
    fieldDescriptions: { note: 'What others should know.' },
    responses: {
      200: json('The alert.', z.strictObject({ status: fields.success, alert: alertResponses.shownAlert })),
    },
    errors: [409],
  })

export const route = defineRoute({
  addresses: ['POST /api/v1/admin/alerts/:id/acknowledge'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  alerts: Pick<Alerts, 'acknowledge' | 'find'>
  devices: Pick<Devices, 'find'>
}

export const acknowledgeAlert = ({ alerts, devices, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const id = idOf(c, 'alert')
    const { note: text } = await optionalBody(c, Body)
    const acknowledged = await alerts.acknowledge(id, text ?? undefined)
    const alert = await shownAlert(id, { alerts, devices })
    if (!acknowledged && alert.acknowledged_at === null)
      throw new AppError('CONFLICT', 'The alert is cleared already.')
    return reply(c, 200, { status: 'success', alert })
  })

export const handler = serve(acknowledgeAlert, { alerts: runtime.alerts, devices: runtime.devices })
