/** POST /api/v1/admin/mqtt/publish: publishes a message, for operators, who have no account at the broker. */
import * as z from 'zod'
import type { Messenger } from '../../lib/broker/messenger.ts'
import { AppError } from '../../lib/errors.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { jsonBody } from '../../lib/http/validate.ts'
import { isTopicName, type TopicTree } from '../../lib/mqtt/topics.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

/** As AWS IoT Core has it: bytes of a payload and of a topic, and its slashes. */
const maxPayloadBytes = 128 * 1024
const maxTopicBytes = 256
const maxSlashes = 7

const isPossible = (topic: string) =>
  isTopicName(topic) && Buffer.byteLength(topic) <= maxTopicBytes && topic.split('/').length <= maxSlashes + 1

const Body = z.object(
  {
    topic: z.string().refine(isPossible, 'must be a topic, without wildcards'),
    payload: z
      .string()
      .refine(
        (text) => Buffer.byteLength(text) <= maxPayloadBytes,
        `must have at most ${maxPayloadBytes} bytes`,
      ),
    retain: z.boolean().default(false),
  },
  'must be a JSON object',
)

export const documentation = () =>
  describeRoute({
    summary: 'Publishes a message over MQTT',
    description: 'With QoS 1. A deployed stage may publish only to the topics of its policy.',
    body: {
      schema: Body,
      required: true,
      examples: { notice: { topic: 'iotflow/fleet/notices/maintenance', payload: '{"from":"22:00"}' } },
    },
    fieldDescriptions: { retain: 'The broker keeps it for later subscribers; an empty payload deletes it.' },
    responses: {
      200: json(
        'The broker has it.',
        z.strictObject({ status: fields.success, message: z.string(), topic: z.string() }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['POST /api/v1/admin/mqtt/publish'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  /** Undefined where there is no broker. */
  messenger: Pick<Messenger, 'publish'> | undefined
  topics: TopicTree
}

const unavailable = (message: string, cause?: unknown) =>
  new AppError('UNAVAILABLE', message, { retryAfterS: 10, cause })

export const publishMessage = ({ messenger, topics, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const { topic, payload, retain } = await jsonBody(c, Body)
    // `$SYS`, `$aws` and `$CONTROL` belong to the broker, and other topics to other stages.
    if (!topic.startsWith(`${topics.root}/`))
      throw new AppError('VALIDATION_FAILED', `topic must be a topic below ${topics.root}/.`, {
        details: [{ path: 'topic', message: `must be a topic below ${topics.root}/, without wildcards` }],
      })
    if (messenger === undefined) throw unavailable('There is no broker: MQTT is switched off.')
    await messenger.publish({ topic, payload, retain }).catch((error: unknown) => {
      throw unavailable('The broker did not take the message.', error)
    })
    return reply(c, 200, { status: 'success', message: 'Message published successfully', topic })
  })

export const handler = serve(publishMessage, { messenger: runtime.publisher, topics: runtime.topics })
