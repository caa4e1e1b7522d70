/** The kind of the broker, and the addresses under which devices reach it. */
import { isLoopback } from '../loopback.ts'
import type { IotDomain } from './iot-domain.ts'

export type BrokerKind = 'embedded' | 'mosquitto' | 'aws-iot' | 'none'

/** Where devices reach the broker; null for a transport that is not open. */
export interface BrokerAddress {
  readonly host: string
  readonly port: number | null
  readonly tlsPort: number | null
  /** The protocol that a client names in the TLS handshake. */
  readonly alpn: string | null
  readonly webSocketUrl: string | null
}

/** The settings that decide about the broker. */
export interface BrokerSettings {
  /** The data plane of the broker; undefined when there is none. */
  readonly iot: { readonly endpoint: string } | undefined
  /** An external broker, `none` for no MQTT, undefined for the embedded broker. */
  readonly mqtt: { readonly url: string } | 'none' | undefined
  readonly ports: {
    readonly mqtt: number | undefined
    readonly mqttTls: number | undefined
    readonly mqttWs: number | undefined
  }
  readonly tls: object | undefined
}

/** The embedded broker and AWS IoT Core both have a data plane; AWS speaks HTTPS only. */
export function brokerKind({ iot, mqtt }: Pick<BrokerSettings, 'iot' | 'mqtt'>): BrokerKind {
  if (typeof mqtt === 'object') return 'mosquitto'
  if (iot === undefined) return 'none'
  return iot.endpoint.startsWith('https:') ? 'aws-iot' : 'embedded'
}

/** Port of MQTT over TLS, which a client reaches without ALPN. */
const mqttsPort = 8883

/**
 * A domain for MQTT only has no WebSocket; the endpoint of the account has one, where the client names the authorizer.
 * @param endpoint of the data plane, which is the endpoint of the account.
 */
const awsAddress = (endpoint: string | undefined, domain: IotDomain | undefined): BrokerAddress => {
  const accountHost = endpoint === undefined ? undefined : new URL(endpoint).hostname
  const host = domain?.host ?? accountHost ?? ''
  if (domain?.isMqttOnly !== true)
    return { host, port: null, tlsPort: 443, alpn: 'mqtt', webSocketUrl: `wss://${host}/mqtt` }
  const named = domain.authorizer && `?x-amz-customauthorizer-name=${encodeURIComponent(domain.authorizer)}`
  const webSocketUrl = accountHost && named ? `wss://${accountHost}/mqtt${named}` : null
  return { host, port: null, tlsPort: mqttsPort, alpn: null, webSocketUrl }
}

const localAddress = (
  host: string,
  { mqtt, mqttTls, mqttWs }: BrokerSettings['ports'],
  withTls: boolean,
): BrokerAddress => ({
  host,
  port: mqtt ?? null,
  tlsPort: withTls ? (mqttTls ?? null) : null,
  alpn: null,
  webSocketUrl: mqttWs === undefined ? null : `ws://${host}:${mqttWs}/mqtt`,
})

/**
 * The addresses to tell a device.
 * @param hostname under which the device reached this server; a broker on the same computer has the same name.
 * @param domain by which devices reach AWS IoT Core; undefined where the broker is another, or it has none.
 */
export function brokerAddress(
  { iot, mqtt, ports, tls }: BrokerSettings,
  hostname: string,
  domain?: IotDomain,
): BrokerAddress {
  if (typeof mqtt === 'object') {
    const { hostname: brokerHost } = new URL(mqtt.url)
    // A name without a dot is the name of a container beside this one, which devices cannot resolve.
    const isBeside = isLoopback(brokerHost) || !/[.:]/.test(brokerHost)
    return localAddress(isBeside ? hostname : brokerHost, ports, true)
  }
  if (domain !== undefined || brokerKind({ iot, mqtt }) === 'aws-iot')
    return awsAddress(iot?.endpoint, domain)
  return localAddress(hostname, ports, tls !== undefined)
}
