/** What a device needs to connect to the broker, beside its key. */
import type { ClientIds } from '../mqtt/client-ids.ts'
import type { TopicTree } from '../mqtt/topics.ts'
import type { BrokerAddress } from './address.ts'

export interface CredentialsDeps {
  /** @param hostname under which the caller reached this server. */
  readonly brokerAddress: (hostname: string) => Promise<BrokerAddress>
  readonly topics: TopicTree
  readonly clientIds: ClientIds
}

/** @param hostname under which the caller reached this server. @throws {AppError} UNAVAILABLE when AWS does not tell the address. */
export async function mqttCredentials(
  { brokerAddress, topics: tree, clientIds }: CredentialsDeps,
  deviceId: number,
  hostname: string,
) {
  const topics = tree.of(deviceId)
  const broker = await brokerAddress(hostname)
  return {
    mqtt_host: broker.host,
    mqtt_port: broker.port,
    mqtt_tls_port: broker.tlsPort,
    alpn: broker.alpn,
    websocket_url: broker.webSocketUrl,
    client_id: clientIds.suggestedFor(deviceId),
    username: String(deviceId),
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
  }
}
