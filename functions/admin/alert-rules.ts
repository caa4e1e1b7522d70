/** GET /api/v1/admin/alert-rules: the rules of alerts, in the order in which they were made. */
import * as z from 'zod'
import type { Alerts } from '../../lib/alerts/alerts.ts'
import * as alertResponses from '../../lib/alerts/responses.ts'
import { ruleView } from '../../lib/alerts/rule-view.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { queryOf } from '../../lib/http/validate.ts'
import { optionalParameter, pageCursor, pageLimit } from '../../lib/parameters.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

const Query = z.object({
  limit: optionalParameter(pageLimit(1000)),
  cursor: optionalParameter(pageCursor),
})

export const documentation = () =>
  describeRoute({
    summary: 'Lists the alert rules',
    query: Query,
    exampleQuery: { limit: 20 },
    responses: {
      200: json(
        'In the order in which they were made.',
        z.strictObject({
          status: fields.success,
          rules: z.array(alertResponses.rule),
          total_rules: fields.count,
          next_cursor: fields.nextCursor,
        }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['GET /api/v1/admin/alert-rules'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  alerts: Pick<Alerts, 'listRules'>
}

export const listAlertRules = ({ alerts, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const { limit = 100, cursor } = queryOf(c, Query)
    const found = await alerts.listRules({ limit: limit + 1, after: cursor })
    const page = found.rules.slice(0, limit)
    return reply(c, 200, {
      status: 'success',
      rules: page.map(ruleView),
      total_rules: found.total,
      ...(found.rules.length > limit ? { next_cursor: String(page.at(-1)?.id) } : {}),
    })
  })

export const handler = serve(listAlertRules, { alerts: runtime.alerts })
