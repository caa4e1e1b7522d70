import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { CallOptions, TestFunctions } from '../../support/functions.ts'
import { itIsForActiveDevices } from './refusals.ts'

let functions: TestFunctions
/** Functions keep the services of their first call, so other settings need newly loaded modules. */
const open = async (settings: Record<string, string>) => {
  vi.resetModules()
  functions = await (await import('../../support/functions.ts')).openFunctions(settings)
}
afterEach(() => functions.close())

const credentials = (options: CallOptions) =>
  functions.call('devices-mqtt-credentials', 'GET', '/api/v1/devices/mqtt-credentials', options)

it('for a broker in a container, the credentials name the host that the caller used and the ports of the settings', async () => {
  await open({
    MQTT_URL: 'mqtt://mosquitto:1884',
    MQTT_USERNAME: 'iotflow',
    MQTT_PASSWORD: 'of-the-functions',
    MQTT_PORT: '11883',
    MQTT_WS_PORT: '19001',
    MQTT_TLS_PORT: '18883',
  })
  const { key } = await functions.register()
  const { json } = await credentials({ key, headers: { Host: 'iot.example.com:5000' } })
  expect(json.credentials).toMatchObject({
    mqtt_host: 'iot.example.com',
    mqtt_port: 11_883,
    mqtt_tls_port: 18_883,
    websocket_url: 'ws://iot.example.com:19001/mqtt',
  })
})

describe('the credentials of a device for the broker', () => {
  beforeEach(() => open({}))

  itIsForActiveDevices(() => functions, credentials)

  it('name the address of the broker, the user name, the client id and the topics', async () => {
    const { id, key } = await functions.register()
    const answer = await credentials({ key, headers: { Host: '192.168.7.9:5000' } })
    expect(answer.status).toBe(200)
    expect(answer.json).toEqual({
      status: 'success',
      credentials: {
        mqtt_host: '192.168.7.9',
        mqtt_port: 1883,
        mqtt_tls_port: null,
        alpn: null,
        websocket_url: 'ws://192.168.7.9:9001/mqtt',
        client_id: `iotflow-device-${id}`,
        username: String(id),
        topics: {
          telemetry_publish: `iotflow/devices/${id}/telemetry`,
          status_publish: `iotflow/devices/${id}/status`,
          status_online: `iotflow/devices/${id}/status/online`,
          status_offline: `iotflow/devices/${id}/status/offline`,
          status_heartbeat: `iotflow/devices/${id}/status/heartbeat`,
          commands_subscribe: `iotflow/devices/${id}/commands`,
          commands_response_publish: `iotflow/devices/${id}/commands/response`,
          config_subscribe: `iotflow/devices/${id}/config`,
          config_reported_publish: `iotflow/devices/${id}/config/reported`,
          fleet_notices_subscribe: 'iotflow/fleet/notices/#',
        },
      },
    })
    expect(answer.text).not.toContain(key)
  })

  it('are accepted by the authorizer with the key of the device, and with no other key', async () => {
    const { key } = await functions.register()
    const other = await functions.register()
    const { client_id: clientId, username } = (await credentials({ key })).json.credentials
    const asked = (password: string) =>
      functions.invoke('mqtt-authorize', {
        protocolData: {
          mqtt: { clientId, username, password: Buffer.from(password).toString('base64') },
        },
      })
    expect(await asked(key)).toMatchObject({ isAuthenticated: true, principalId: username })
    expect(await asked(other.key)).toMatchObject({ isAuthenticated: false })
  })
})

describe('the address of the broker', () => {
  const way = async (settings: Record<string, string>) => {
    await open(settings)
    const { key } = await functions.register()
    const { mqtt_host, mqtt_port, mqtt_tls_port, alpn, websocket_url } = (await credentials({ key })).json
      .credentials
    return { mqtt_host, mqtt_port, mqtt_tls_port, alpn, websocket_url }
  }

  it('has null for each port that is not open', async () => {
    expect(await way({ MQTT_PORT: 'none', MQTT_WS_PORT: 'none' })).toEqual({
      mqtt_host: 'localhost',
      mqtt_port: null,
      mqtt_tls_port: null,
      alpn: null,
      websocket_url: null,
    })
  })

  it('has a TLS port when there is a certificate', async () => {
    const settings = { MQTT_PORT: '11883', MQTT_TLS_PORT: '18883', TLS_CERT: 'cert.pem', TLS_KEY: 'key.pem' }
    expect(await way(settings)).toMatchObject({ mqtt_port: 11_883, mqtt_tls_port: 18_883, alpn: null })
  })

  it.each([
    ['mosquitto', 'localhost'],
    ['127.0.0.1', 'localhost'],
    ['broker.example', 'broker.example'],
  ])('of a Mosquitto on %s can be reached by devices', async (there, host) => {
    const account = { MQTT_USERNAME: 'iotflow', MQTT_PASSWORD: 'of-the-functions' }
    expect(await way({ MQTT_URL: `mqtt://${there}:1884`, ...account })).toMatchObject({
      mqtt_host: host,
      mqtt_port: 1883,
      websocket_url: `ws://${host}:9001/mqtt`,
    })
  })

  it('is the one of AWS IoT Core when IOT_ENDPOINT is set', async () => {
    const host = 'abc-ats.iot.eu-central-1.amazonaws.com'
    expect(await way({ IOT_ENDPOINT: host, AWS_REGION: 'eu-central-1' })).toEqual({
      mqtt_host: host,
      mqtt_port: null,
      mqtt_tls_port: 443,
      alpn: 'mqtt',
      websocket_url: `wss://${host}/mqtt`,
    })
  })
})
