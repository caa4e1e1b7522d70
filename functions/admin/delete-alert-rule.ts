/** DELETE /api/v1/admin/alert-rules/{id}: deletes a rule and clears its open alerts, which stay listed. */
import * as z from 'zod'
import type { Alerts } from '../../lib/alerts/alerts.ts'
import { unknownRule } from '../../lib/alerts/rule-view.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { idOf } from '../../lib/http/validate.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

export const documentation = () =>
  describeRoute({
    summary: 'Deletes an alert rule',
    description: 'Its open alerts are cleared: `clear_reason` is `rule_deleted`. All its alerts stay listed.',
    responses: {
      200: json(
        'It is deleted.',
        z.strictObject({ status: fields.success, message: z.string(), id: z.int().min(1) }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['DELETE /api/v1/admin/alert-rules/:id'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  alerts: Pick<Alerts, 'deleteRule'>
}

export const deleteAlertRule = ({ alerts, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const id = idOf(c, 'alert rule')
    if (!(await alerts.deleteRule(id))) throw unknownRule()
    return reply(c, 200, { status: 'success', message: 'Alert rule deleted successfully', id })
  })

export const handler = serve(deleteAlertRule, { alerts: runtime.alerts })
