import { describe, expect, it } from 'vitest'
import { type BrokerSettings, brokerAddress, brokerKind } from '../../../lib/broker/address.ts'

const ports = { mqtt: 1883, mqttTls: 8883, mqttWs: 9001 }
const settings = (fields: Partial<BrokerSettings>): BrokerSettings => ({
  iot: undefined,
  mqtt: undefined,
  ports,
  tls: undefined,
  ...fields,
})
const mosquitto = (url: string) => settings({ iot: { endpoint: 'http://127.0.0.1:1' }, mqtt: { url } })

describe('the kind of the broker', () => {
  it.each([
    ['none', settings({})],
    ['none', settings({ mqtt: 'none' })],
    ['embedded', settings({ iot: { endpoint: 'http://127.0.0.1:4000' } })],
    ['aws-iot', settings({ iot: { endpoint: 'https://abc-ats.iot.eu-central-1.amazonaws.com' } })],
    ['mosquitto', mosquitto('mqtt://broker.example')],
  ] as const)('is %s', (kind, given) => {
    expect(brokerKind(given)).toBe(kind)
  })
})

describe('the address of the broker', () => {
  it('is, on AWS, the data endpoint with TLS and ALPN only', () => {
    const host = 'abc-ats.iot.eu-central-1.amazonaws.com'
    expect(brokerAddress(settings({ iot: { endpoint: `https://${host}` } }), 'api.example')).toEqual({
      host,
      port: null,
      tlsPort: 443,
      alpn: 'mqtt',
      webSocketUrl: `wss://${host}/mqtt`,
    })
  })

  it('is, with a domain for MQTT only, its host and the port that needs no ALPN', () => {
    const domain = {
      host: 'd1-ats.iot.eu-central-1.amazonaws.com',
      isMqttOnly: true,
      authorizer: 'iotflow-dev',
    }
    const endpoint = 'https://abc-ats.iot.eu-central-1.amazonaws.com'
    const way = { host: domain.host, port: null, tlsPort: 8883, alpn: null }
    expect(brokerAddress(settings({ iot: { endpoint } }), 'api.example', domain)).toEqual({
      ...way,
      webSocketUrl:
        'wss://abc-ats.iot.eu-central-1.amazonaws.com/mqtt?x-amz-customauthorizer-name=iotflow-dev',
    })
    expect(brokerAddress(settings({}), 'api.example', domain)).toEqual({ ...way, webSocketUrl: null })
  })

  it('is, with another domain, its host on the port that all protocols share', () => {
    const domain = { host: 'mqtt.example.com', isMqttOnly: false, authorizer: 'iotflow-dev' }
    expect(brokerAddress(settings({}), 'api.example', domain)).toEqual({
      host: 'mqtt.example.com',
      port: null,
      tlsPort: 443,
      alpn: 'mqtt',
      webSocketUrl: 'wss://mqtt.example.com/mqtt',
    })
  })

  it('has, for the embedded broker, the name of the server, and a TLS port only with a certificate', () => {
    const plain = {
      host: 'gateway.local',
      port: 1883,
      alpn: null,
      webSocketUrl: 'ws://gateway.local:9001/mqtt',
    }
    expect(brokerAddress(settings({}), 'gateway.local')).toEqual({ ...plain, tlsPort: null })
    expect(brokerAddress(settings({ tls: {} }), 'gateway.local')).toEqual({ ...plain, tlsPort: 8883 })
    const closed = { mqtt: undefined, mqttTls: undefined, mqttWs: undefined }
    expect(brokerAddress(settings({ ports: closed, tls: {} }), 'gateway.local')).toMatchObject({
      port: null,
      tlsPort: null,
      webSocketUrl: null,
    })
  })

  it.each([
    ['mqtt://broker.example:1884', 'broker.example'],
    ['mqtt://10.0.0.7', '10.0.0.7'],
    ['mqtt://127.0.0.1', 'gateway.local'],
    ['mqtt://localhost', 'gateway.local'],
    ['mqtt://mosquitto:1883', 'gateway.local'],
  ])('has, for %s, the host %s', (url, host) => {
    expect(brokerAddress(mosquitto(url), 'gateway.local')).toEqual({
      host,
      port: 1883,
      tlsPort: 8883,
      alpn: null,
      webSocketUrl: `ws://${host}:9001/mqtt`,
    })
  })
})
