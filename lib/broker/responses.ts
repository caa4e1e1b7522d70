/** Schemas of what the API tells of the broker. */
import * as z from 'zod'

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

export const mqttCredentials = z
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
