/** GET /api/v1/devices/mqtt-credentials: addresses of the MQTT broker, and the names and topics of the calling device. */
import * as z from 'zod'
import { type CredentialsDeps, mqttCredentials as credentialsOf } from '../../lib/broker/credentials.ts'
import * as brokerResponses from '../../lib/broker/responses.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { hostnameOf } from '../../lib/http/host.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

export const documentation = () =>
  describeRoute({
    summary: 'Tells how the device connects to the MQTT broker',
    description: 'The password is the API key of the device.',
    responses: {
      200: json(
        'Addresses, names and topics.',
        z.strictObject({ status: fields.success, credentials: brokerResponses.mqttCredentials }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['GET /api/v1/devices/mqtt-credentials'],
  access: 'device',
  documentation: typedBy<typeof documentation>(),
})

export const mqttCredentials = (deps: EndpointDeps & CredentialsDeps) =>
  endpoint(route, deps, async (c, reply, { id }) =>
    reply(c, 200, { status: 'success', credentials: await credentialsOf(deps, id, hostnameOf(c)) }),
  )

export const handler = serve(mqttCredentials, {
  brokerAddress: () => runtime.brokerAddress,
  topics: runtime.topics,
  clientIds: runtime.clientIds,
})
