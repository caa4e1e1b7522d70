/** GET /api/v1/mqtt/status: whether there is an MQTT broker, and whether it answers. */
import * as z from 'zod'
import type { Messenger } from '../../lib/broker/messenger.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { memoizeFor } from '../../lib/memoize-for.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

export const documentation = () =>
  describeRoute({
    summary: 'Tells whether there is an MQTT broker and it answers',
    responses: {
      200: json(
        'The state of the broker, checked at most every 15 s.',
        z.strictObject({
          status: z.enum(['healthy', 'unavailable', 'disabled']),
          broker_info: z.strictObject({
            connected: z.boolean(),
            kind: z.enum(['embedded', 'mosquitto', 'aws-iot', 'none']),
          }),
        }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['GET /api/v1/mqtt/status'],
  access: 'none',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  /** Undefined where there is no broker. */
  messenger: Pick<Messenger, 'check'> | undefined
  kind: ReturnType<typeof runtime.brokerKind>
}

/** The broker is asked at most this often, ms. */
const askEveryMs = 15_000

export const mqttStatus = ({ messenger, kind, ...shared }: Deps) => {
  const ask = memoizeFor(askEveryMs, async () => {
    if (messenger === undefined) return false
    return messenger.check().then(
      () => true,
      () => false,
    )
  })
  return endpoint(route, shared, async (c, reply) => {
    const connected = await ask()
    const status = kind === 'none' ? 'disabled' : connected ? 'healthy' : 'unavailable'
    return reply(c, 200, { status, broker_info: { connected, kind } })
  })
}

export const handler = serve(mqttStatus, { messenger: runtime.brokerCheck, kind: runtime.brokerKind })
