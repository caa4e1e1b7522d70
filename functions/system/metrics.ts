/** GET /metrics: the metrics of this server, for Prometheus. */
import * as z from 'zod'
import { formatFor, type MetricsPage } from '../../lib/dashboard/metrics-page.ts'
import { AppError } from '../../lib/errors.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, typedBy } from '../../lib/http/route.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

export const documentation = () =>
  describeRoute({
    summary: 'Shows metrics for Prometheus',
    description:
      'OpenMetrics 1.0 where the client accepts it, else the text format 0.0.4. Needs the admin token, or `METRICS_TOKEN` as a bearer token. Only `npm start` has it: a function of the cloud is measured there.',
    responses: {
      200: {
        description: 'Counted in this process since its start.',
        content: { 'text/plain': z.string(), 'application/openmetrics-text': z.string() },
      },
    },
    errors: [501],
  })

export const route = defineRoute({
  addresses: ['GET /metrics'],
  access: 'metrics',
  documentation: typedBy<typeof documentation>(),
})

// The type of `reply` knows no parameter but the charset.
const openMetrics =
  'application/openmetrics-text; version=1.0.0; charset=utf-8' as 'application/openmetrics-text'
const plainText = 'text/plain; version=0.0.4; charset=utf-8' as 'text/plain'

interface Deps extends EndpointDeps {
  /** Undefined where a process answers few requests and ends. */
  metrics: MetricsPage | undefined
}

export const showMetrics = ({ metrics, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    if (metrics === undefined) throw new AppError('NOT_IMPLEMENTED', 'Only npm start has metrics.')
    return formatFor(c.req.header('accept')) === 'openmetrics'
      ? reply(c, 200, await metrics.write('openmetrics'), openMetrics)
      : reply(c, 200, await metrics.write('text'), plainText)
  })

export const handler = serve(showMetrics, { metrics: runtime.metrics })
