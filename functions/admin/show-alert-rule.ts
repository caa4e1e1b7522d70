/** GET /api/v1/admin/alert-rules/{id}: one rule. */
import * as z from 'zod'
import type { Alerts } from '../../lib/alerts/alerts.ts'
import * as alertResponses from '../../lib/alerts/responses.ts'
import { ruleView, unknownRule } from '../../lib/alerts/rule-view.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { idOf } from '../../lib/http/validate.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

export const documentation = () =>
  describeRoute({
    summary: 'Shows an alert rule',
    responses: {
      200: json('The rule.', z.strictObject({ status: fields.success, rule: alertResponses.rule })),
    },
  })

export const route = defineRoute({
  addresses: ['GET /api/v1/admin/alert-rules/:id'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  alerts: Pick<Alerts, 'findRule'>
}

export const showAlertRule = ({ alerts, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const rule = await alerts.findRule(idOf(c, 'alert rule'))
    if (rule === undefined) throw unknownRule()
    return reply(c, 200, { status: 'success', rule: ruleView(rule) })
  })

export const handler = serve(showAlertRule, { alerts: runtime.alerts })
