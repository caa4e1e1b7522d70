/** GET /api/v1/devices/mqtt-credentials: addresses of the MQTT broker, and the names and topics of the calling device. */
import * as z from 'zod'
import type { BrokerAddress } from '../../lib/broker/address.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { hostnameOf } from '../../lib/http/host.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import type { ClientIds } from '../../lib/mqtt/client-ids.ts'
import type { TopicTree } from '../../lib/mqtt/topics.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

export const documentation = () => {
  const port = z.int().min(1).max(65_535).nullable()
  const topics = z
    .strictObject({
      telemetry_publish: z.string(),
      status_publish: z.string(),
      status_online: z.string(),
      status_offline: z.string(),
      status_heartbeat: z.string(),
      commands_subscribe: z.string(),
      commands_response_publish: z.string(),
      config_subscribe: z.string(),
      config_reported_publish: z.string(),
      fleet_notices_subscribe: z.string(),
    })
    .meta({ id: 'MqttTopics' })
  const credentials = z
    .strictObject({
      mqtt_host: z.string(),
      mqtt_port: port,
      mqtt_tls_port: port,
      alpn: z.string().nullable().describe('What a client must name in the TLS handshake.'),
      websocket_url: z.string().nullable(),
      client_id: z.string(),
      username: z.string(),
      topics,
    })
    .meta({ id: 'MqttCredentials', description: 'A way that is not open is null.' })
  return describeRoute({
    summary: 'Tells how the device connects to the MQTT broker',
    description: 'The password is the API key of the device.',
    responses: {
      200: json('Addresses, names and topics.', z.strictObject({ status: fields.success, credentials })),
    },
  })
}

export const route = defineRoute({
  addresses: ['GET /api/v1/devices/mqtt-credentials'],
  access: 'device',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  /** @param hostname under which the caller reached this server. */
  brokerAddress: (hostname: string) => BrokerAddress
  topics: TopicTree
  clientIds: ClientIds
}

export const mqttCredentials = ({ brokerAddress, topics: tree, clientIds, ...shared }: Deps) =>
  endpoint(route, shared, (c, reply, { id }) => {
    const topics = tree.of(id)
    const broker = brokerAddress(hostnameOf(c))
    return reply(c, 200, {
      status: 'success',
      credentials: {
        mqtt_host: broker.host,
        mqtt_port: broker.port,
        mqtt_tls_port: broker.tlsPort,
        alpn: broker.alpn,
        websocket_url: broker.webSocketUrl,
        client_id: clientIds.suggestedFor(id),
        username: String(id),
        topics: {
          telemetry_publish: topics.telemetryPublish,
          status_publish: topics.statusPublish,
          status_online: topics.statusOnline,
          status_offline: topics.statusOffline,
          status_heartbeat: topics.statusHeartbeat,
          commands_subscribe: topics.commandsSubscribe,
          commands_response_publish: topics.commandsResponsePublish,
          config_subscribe: topics.configSubscribe,
          config_reported_publish: topics.configReportedPublish,
          fleet_notices_subscribe: topics.fleetNoticesSubscribe,
        },
      },
    })
  })

export const handler = serve(mqttCredentials, {
  brokerAddress: () => runtime.brokerAddress,
  topics: runtime.topics,
  clientIds: runtime.clientIds,
})
