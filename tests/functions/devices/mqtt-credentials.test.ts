import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { CallOptions, Layer } from '../../support/layer.ts'
import { itIsForActiveDevices } from './refusals.ts'

let layer: Layer
/** Functions keep what they were built with: other settings need other modules. */
const open = async (settings: Record<string, string>) => {
  vi.resetModules()
  layer = await (await import('../../support/layer.ts')).openLayer(settings)
}
afterEach(() => layer.close())

const credentials = (options: CallOptions) =>
  layer.call('devices-mqtt-credentials', 'GET', '/api/v1/devices/mqtt-credentials', options)

it('of a broker in a container name the host the caller used, and the ports of the host', async () => {
  await open({
    MQTT_URL: 'mqtt://mosquitto:1884',
    MQTT_USERNAME: 'iotflow',
    MQTT_PASSWORD: 'of-the-layer',
    MQTT_PORT: '11883',
    MQTT_WS_PORT: '19001',
    MQTT_TLS_PORT: '18883',
  })
  const { key } = await layer.register()
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

  itIsForActiveDevices(() => layer, credentials)

  it('say where it is, who the device is there and which topics are its own', async () => {
    const { id, key } = await layer.register()
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

  it("let the device in with its key, and nobody under another's name", async () => {
    const { key } = await layer.register()
    const other = await layer.register()
    const { client_id: clientId, username } = (await credentials({ key })).json.credentials
    const asked = (password: string) =>
      layer.invoke('mqtt-authorize', {
        protocolData: {
          mqtt: { clientId, username, password: Buffer.from(password).toString('base64') },
        },
      })
    expect(await asked(key)).toMatchObject({ isAuthenticated: true, principalId: username })
    expect(await asked(other.key)).toMatchObject({ isAuthenticated: false })
  })
})

describe('the way to the broker', () => {
  const way = async (settings: Record<string, string>) => {
    await open(settings)
    const { key } = await layer.register()
    const { mqtt_host, mqtt_port, mqtt_tls_port, alpn, websocket_url } = (await credentials({ key })).json
      .credentials
    return { mqtt_host, mqtt_port, mqtt_tls_port, alpn, websocket_url }
  }

  it('is null where none is open', async () => {
    expect(await way({ MQTT_PORT: 'none', MQTT_WS_PORT: 'none' })).toEqual({
      mqtt_host: 'localhost',
      mqtt_port: null,
      mqtt_tls_port: null,
      alpn: null,
      websocket_url: null,
    })
  })

  it('has a port for TLS where there is a certificate', async () => {
    const settings = { MQTT_PORT: '11883', MQTT_TLS_PORT: '18883', TLS_CERT: 'cert.pem', TLS_KEY: 'key.pem' }
    expect(await way(settings)).toMatchObject({ mqtt_port: 11_883, mqtt_tls_port: 18_883, alpn: null })
  })

  it.each([
    ['mosquitto', 'localhost'],
    ['127.0.0.1', 'localhost'],
    ['broker.example', 'broker.example'],
  ])('at a Mosquitto on %s is one that devices can reach', async (there, host) => {
    const account = { MQTT_USERNAME: 'iotflow', MQTT_PASSWORD: 'of-the-layer' }
    expect(await way({ MQTT_URL: `mqtt://${there}:1884`, ...account })).toMatchObject({
      mqtt_host: host,
      mqtt_port: 1883,
      websocket_url: `ws://${host}:9001/mqtt`,
    })
  })

  it('is that of AWS where its broker is the one', async () => {
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
