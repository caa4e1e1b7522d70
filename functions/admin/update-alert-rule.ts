/** PUT /api/v1/admin/alert-rules/{id}: changes a rule; fields that are left out stay as they are. */
import * as z from 'zod'
import type { Alerts } from '../../lib/alerts/alerts.ts'
import { ruleDescriptions, ruleFields } from '../../lib/alerts/fields.ts'
import * as alertResponses from '../../lib/alerts/responses.ts'
import { refuseUnknownDevice, ruleView, unknownRule } from '../../lib/alerts/rule-view.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import { notAnObject } from '../../lib/devices/fields.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { idOf, jsonBody } from '../../lib/http/validate.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

const Body = z.object(ruleFields, notAnObject).partial()

export const documentation = () =>
  describeRoute({
    summary: 'Changes an alert rule',
    description:
      'Another target or condition, and `enabled`, raise the revision and clear the open alerts of the rule: `clear_reason` is `rule_changed`.',
    body: {
      schema: Body,
      required: true,
      examples: {
        condition: {
          condition: { kind: 'threshold', field: 'temperature', op: '>', value: 32, for: '10m' },
        },
        'switch off': { enabled: false },
      },
    },
    fieldDescriptions: {
      ...ruleDescriptions,
      severity: 'Alerts that are open keep theirs.',
      target: `${ruleDescriptions.target} Replaced as a whole.`,
      condition: `${ruleDescriptions.condition} Replaced as a whole.`,
    },
    responses: {
      200: json('The rule.', z.strictObject({ status: fields.success, rule: alertResponses.rule })),
    },
  })

export const route = defineRoute({
  addresses: ['PUT /api/v1/admin/alert-rules/:id'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  alerts: Pick<Alerts, 'updateRule'>
  devices: Pick<Devices, 'findMany'>
}

export const updateAlertRule = ({ alerts, devices, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const id = idOf(c, 'alert rule')
    const body = await jsonBody(c, Body)
    await refuseUnknownDevice(devices, body.target)
    const change = Object.fromEntries(Object.entries(body).filter(([, value]) => value !== undefined))
    const rule = await alerts.updateRule(id, change)
    if (rule === undefined) throw unknownRule()
    return reply(c, 200, { status: 'success', rule: ruleView(rule) })
  })

export const handler = serve(updateAlertRule, { alerts: runtime.alerts, devices: runtime.devices })
