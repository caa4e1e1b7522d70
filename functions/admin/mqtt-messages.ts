/** GET /api/v1/admin/mqtt/messages: the newest messages of devices, for an operator who watches them. */
import * as z from 'zod'
import { AppError } from '../../lib/errors.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { queryOf } from '../../lib/http/validate.ts'
import { formatMillis } from '../../lib/iso-time.ts'
import type { MessageTap, NumberedMessage } from '../../lib/mqtt/message-tap.ts'
import { isTopicFilter } from '../../lib/mqtt/topics.ts'
import { optionalParameter, pageCursor } from '../../lib/parameters.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

const Query = z.object({
  after: optionalParameter(pageCursor),
  topic: optionalParameter(z.string().max(1024).refine(isTopicFilter, 'must be a topic filter of MQTT')),
})

export const documentation = () =>
  describeRoute({
    summary: 'Shows messages that devices send over MQTT',
    description:
      'Messages are kept from the first call on, while calls come at least every 30 s. Only `npm start` with a broker has them.',
    query: Query,
    exampleQuery: { topic: 'iotflow/devices/#' },
    fieldDescriptions: {
      after: 'Only messages after this number.',
      topic: 'Only topics that this filter matches.',
    },
    responses: {
      200: json(
        'Oldest first.',
        z.strictObject({
          status: fields.success,
          messages: z.array(
            z.strictObject({
              number: z.int().min(1),
              topic: z.string(),
              payload: z.string(),
              encoding: z.enum(['utf8', 'base64']),
              client_id: z.string().nullable(),
              received_at: fields.time,
            }),
          ),
          last: fields.count.describe('The number of the newest message: the next `after`.'),
          lost: fields.count.describe('Messages after `after` that are no longer kept.'),
        }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['GET /api/v1/admin/mqtt/messages'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  /** Undefined where messages do not pass this process. */
  tap: MessageTap | undefined
}

const messageView = ({ number, topic, payload, clientId, receivedAt }: NumberedMessage) => {
  const text = Buffer.from(payload, 'base64').toString('utf8')
  // Bytes that are no UTF-8 become U+FFFD.
  const isText = !text.includes('\uFFFD')
  return {
    number,
    topic,
    payload: isText ? text : payload,
    encoding: isText ? ('utf8' as const) : ('base64' as const),
    client_id: clientId ?? null,
    received_at: formatMillis(receivedAt),
  }
}

export const watchMessages = ({ tap, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const { after = 0, topic = '#' } = queryOf(c, Query)
    if (tap === undefined)
      throw new AppError('UNAVAILABLE', 'Messages can be watched only on npm start with a broker.', {
        retryAfterS: 3600,
      })
    const { messages, last, lost } = tap.after(after, topic)
    return reply(c, 200, { status: 'success', messages: messages.map(messageView), last, lost })
  })

export const handler = serve(watchMessages, { tap: runtime.messageTap })
