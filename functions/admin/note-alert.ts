/** POST /api/v1/admin/alerts/{id}/notes: adds a note to the history of an alert, also of one that is cleared. */
import * as z from 'zod'
import { type Alerts, maxNotes } from '../../lib/alerts/alerts.ts'
import { note } from '../../lib/alerts/fields.ts'
import * as alertResponses from '../../lib/alerts/responses.ts'
import { shownAlert } from '../../lib/alerts/shown-alert.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import { notAnObject } from '../../lib/devices/fields.ts'
import { AppError } from '../../lib/errors.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { idOf, jsonBody } from '../../lib/http/validate.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

const Body = z.object({ text: note }, notAnObject)

export const documentation = () =>
  describeRoute({
    summary: 'Adds a note to an alert',
    description: 'Also to one that is cleared. An alert has at most 100 notes.',
    body: { schema: Body, required: true, examples: { note: { text: 'Spare part ordered.' } } },
    fieldDescriptions: { text: 'At most 2,000 characters.' },
    responses: {
      201: json('The alert.', z.strictObject({ status: fields.success, alert: alertResponses.shownAlert })),
    },
    errors: [409],
  })

export const route = defineRoute({
  addresses: ['POST /api/v1/admin/alerts/:id/notes'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  alerts: Pick<Alerts, 'note' | 'find'>
  devices: Pick<Devices, 'find'>
}

export const noteAlert = ({ alerts, devices, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const id = idOf(c, 'alert')
    const { text } = await jsonBody(c, Body)
    const isAdded = await alerts.note(id, text)
    const alert = await shownAlert(id, { alerts, devices })
    if (!isAdded) throw new AppError('CONFLICT', `An alert has at most ${maxNotes} notes.`)
    return reply(c, 201, { status: 'success', alert })
  })

export const handler = serve(noteAlert, { alerts: runtime.alerts, devices: runtime.devices })
