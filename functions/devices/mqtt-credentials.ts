/** GET /api/v1/devices/mqtt-credentials: where the broker is and what the device may use there. Its password is its key. */
import type { Device } from '../../lib/devices/device.ts'
import type { Gate } from '../../lib/http/auth.ts'
import { endpoint, hostnameOf, reply } from '../../lib/http/endpoint.ts'
import { lambda } from '../../lib/http/lambda.ts'
import type { Log } from '../../lib/log.ts'
import { deviceTopics } from '../../lib/mqtt/topics.ts'
import * as runtime from '../../lib/runtime.ts'

interface Deps {
  log: Log
  gate: Gate<Device>
  /** @param hostname under which the caller reached this machine. */
  brokerAddress: (hostname: string) => runtime.BrokerAddress
}

export const mqttCredentials = ({ log, gate, brokerAddress }: Deps) =>
  endpoint(log, 'GET /api/v1/devices/mqtt-credentials', gate.device('requests'), (c, { id }) => {
    const topics = deviceTopics(id)
    const broker = brokerAddress(hostnameOf(c))
    return reply(c, 200, {
      status: 'success',
      credentials: {
        mqtt_host: broker.host,
        mqtt_port: broker.port,
        mqtt_tls_port: broker.tlsPort,
        alpn: broker.alpn,
        websocket_url: broker.webSocketUrl,
        client_id: `iotflow-device-${id}`,
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

export const handler = lambda(async () =>
  mqttCredentials({
    log: runtime.log(),
    gate: await runtime.gate(),
    brokerAddress: runtime.brokerAddress,
  }),
)
