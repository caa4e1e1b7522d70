import { expect, it } from 'vitest'
import { findBroker } from '../../simulators/broker.ts'
import type { HttpClient } from '../../simulators/http-client.ts'

const told = {
  mqtt_host: 'broker.example.com',
  mqtt_port: null,
  mqtt_tls_port: 8883,
  alpn: null,
  username: '2',
  topics: {
    telemetry_publish: 'acme2-dev/devices/2/telemetry',
    commands_subscribe: 'acme2-dev/devices/2/commands',
    commands_response_publish: 'acme2-dev/devices/2/commands/response',
  },
}

it.each(['acme2-dev-device-2', 'iotflow-device-2', '2'])(
  'makes a client id for each device of the one that the server tells: %s',
  async (clientId) => {
    const answer = { status: 200, body: { credentials: { ...told, client_id: clientId } } }
    const client = { request: async () => answer } as unknown as HttpClient
    const device = { id: 2, apiKey: 'key' } as Parameters<typeof findBroker>[0]['device']
    const question = { url: 'http://server', mqttUrl: undefined, device, client, over: () => false }
    expect(await findBroker(question)).toEqual({
      url: 'mqtts://broker.example.com:8883',
      topicRoot: 'acme2-dev',
      clientId: clientId.replace(/2$/, '{id}'),
    })
  },
)
