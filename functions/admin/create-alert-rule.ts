/** POST /api/v1/admin/alert-rules: makes a rule that is judged from the next reading on. */
import * as z from 'zod'
import type { Alerts } from '../../lib/alerts/alerts.ts'
import { ruleDescriptions, ruleFields } from '../../lib/alerts/fields.ts'
import * as alertResponses from '../../lib/alerts/responses.ts'
import { refuseUnknownDevice, ruleView } from '../../lib/alerts/rule-view.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import { notAnObject } from '../../lib/devices/fields.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { jsonBody } from '../../lib/http/validate.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

const Body = z.object(
  {
    name: ruleFields.name,
    enabled: ruleFields.enabled.optional(),
    severity: ruleFields.severity.optional(),
    target: ruleFields.target.optional(),
    condition: ruleFields.condition,
  },
  notAnObject,
)

export const documentation = () =>
  describeRoute({
    summary: 'Makes an alert rule',
    description: 'For each device that it concerns, at most one alert of a rule is open at a time.',
    body: {
      schema: Body,
      required: true,
      examples: {
        threshold: {
          name: 'Too warm',
          severity: 'critical',
          target: { device_type: 'sensor' },
          condition: {
            kind: 'threshold',
            field: 'temperature',
            op: '>',
            value: 30,
            for: '5m',
            clear_value: 28,
          },
        },
        silence: { name: 'Silent', condition: { kind: 'no_data', for: '15m' } },
        offline: { name: 'Offline', condition: { kind: 'offline', for: '2m' } },
        warnings: {
          name: 'Many warnings',
          severity: 'info',
          condition: { kind: 'warnings', count: 10, within: '1h' },
        },
        'dead letters': {
          name: 'Messages that cannot be stored',
          condition: { kind: 'dead_letters', count: 5, within: '1h' },
        },
      },
    },
    fieldDescriptions: ruleDescriptions,
    responses: {
      201: json('The rule.', z.strictObject({ status: fields.success, rule: alertResponses.rule })),
    },
    errors: [409],
  })

export const route = defineRoute({
  addresses: ['POST /api/v1/admin/alert-rules'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  alerts: Pick<Alerts, 'createRule'>
  devices: Pick<Devices, 'findMany'>
}

export const createAlertRule = ({ alerts, devices, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const { name, enabled = true, severity = 'warning', target = {}, condition } = await jsonBody(c, Body)
    await refuseUnknownDevice(devices, target)
    const rule = await alerts.createRule({ name, enabled, severity, target, condition })
    return reply(c, 201, { status: 'success', rule: ruleView(rule) })
  })

export const handler = serve(createAlertRule, { alerts: runtime.alerts, devices: runtime.devices })
