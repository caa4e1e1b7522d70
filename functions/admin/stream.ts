/** GET /api/v1/admin/stream: live updates for a dashboard, as an event stream. */
import * as z from 'zod'
import type { LiveUpdates } from '../../lib/dashboard/live-updates.ts'
import { AppError } from '../../lib/errors.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, typedBy } from '../../lib/http/route.ts'
import { queryOf } from '../../lib/http/validate.ts'
import { optionalParameter } from '../../lib/parameters.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

const Query = z.object({
  device_id: optionalParameter(
    z
      .string()
      .regex(/^[1-9]\d{0,14}$/, 'must be the id of a device')
      .meta({ type: 'integer', minimum: 1, maximum: 999_999_999_999_999, pattern: undefined })
      .transform(Number),
  ),
})

export const documentation = () =>
  describeRoute({
    summary: 'Sends live updates',
    description:
      'Only `npm start` on its own database has it; elsewhere ask for the dashboard now and then. The stream ends after an hour: come again with the id of the last message in `Last-Event-ID`.',
    query: Query,
    exampleQuery: { device_id: 1 },
    fieldDescriptions: { device_id: 'Sends each reading of this device as it is stored, too.' },
    otherParameters: {
      'Last-Event-ID': {
        in: 'header',
        description: 'The id of the last message that the reader has got: later device events come first.',
        schema: { type: 'string' },
      },
    },
    responses: {
      200: {
        description:
          'Messages `overview` (the dashboard, every 2 s), `event` (of a device), `reading` (`device_id`, `timestamp`, `data`), and `skipped` (how many `events` and `readings` were left out, because they were not read in time). Data is JSON.',
        content: { 'text/event-stream': z.string() },
      },
    },
    errors: [501],
  })

export const route = defineRoute({
  addresses: ['GET /api/v1/admin/stream'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  /** Undefined where messages do not all pass this process. */
  live: Pick<LiveUpdates, 'open'> | undefined
}

const eventIdOf = (text: string | undefined): number | undefined =>
  text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined

export const streamUpdates = ({ live, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const { device_id: deviceId } = queryOf(c, Query)
    if (live === undefined)
      throw new AppError(
        'NOT_IMPLEMENTED',
        'Only npm start sends live updates: ask for the dashboard instead.',
      )
    // HEAD is answered as GET, but nobody would read the stream.
    if (c.req.raw.method === 'HEAD') return reply(c, 200, '', 'text/event-stream')
    const lastEventId = eventIdOf(c.req.header('last-event-id'))
    return reply(c, 200, await live.open({ deviceId, lastEventId }), 'text/event-stream')
  })

export const handler = serve(streamUpdates, { live: runtime.liveUpdates })
