/** Where the broker is: as an argument says, or as the server tells its devices. */
import { defaultTopics } from '../lib/mqtt/topics.ts'
import { describe, GaveUp, type HttpClient, SimulationError } from './http-client.ts'
import type { BrokerOptions } from './mqtt-uplink.ts'
import type { Identity } from './uplink.ts'

interface BrokerQuestion {
  readonly url: string
  /** Undefined: the server is asked. */
  readonly mqttUrl: string | undefined
  /** A device to ask as. */
  readonly device: Identity
  readonly client: HttpClient
  over(): boolean
}

/** What the server tells a device about its broker. */
export interface Credentials {
  readonly mqtt_host: string
  readonly mqtt_port: number | null
  readonly mqtt_tls_port: number | null
  readonly alpn: string | null
  readonly client_id: string
  readonly username: string
  readonly topics: {
    readonly telemetry_publish: string
    readonly commands_subscribe: string
    readonly commands_response_publish: string
  }
}

const defaultClientId = 'iotflow-device-{id}'
const maxLost = 2

/** IPv6 addresses stand in brackets. */
const inUrl = (host: string) => (host.includes(':') && !host.startsWith('[') ? `[${host}]` : host)

/**
 * The address of the broker; undefined when no way is open.
 * @param preferTls where the broker has ports with TLS and without.
 */
export function brokerUrl(
  { mqtt_host: host, mqtt_port: port, mqtt_tls_port: tlsPort }: Credentials,
  preferTls = false,
): string | undefined {
  if (tlsPort !== null && (preferTls || port === null)) return `mqtts://${inUrl(host)}:${tlsPort}`
  return port === null ? undefined : `mqtt://${inUrl(host)}:${port}`
}

/** Asks the server as a device. @throws {SimulationError} when it does not tell; the message is a part of a sentence. */
export async function askCredentials({
  url,
  device,
  client,
  over,
}: Omit<BrokerQuestion, 'mqttUrl'>): Promise<Credentials> {
  const answer = await client
    .request(
      `${url}/api/v1/devices/mqtt-credentials`,
      { headers: { 'X-API-Key': device.apiKey } },
      { over, maxLost },
    )
    .catch((error: unknown) => {
      if (error instanceof GaveUp) throw new SimulationError(error.message)
      throw error
    })
  const { credentials } = (answer.body ?? {}) as { credentials?: Credentials }
  if (answer.status !== 200 || credentials === undefined)
    throw new SimulationError(describe(answer).replace(/\.$/, ''))
  return credentials
}

/** @throws {SimulationError} when the server has no broker, or does not tell. */
export async function findBroker(question: BrokerQuestion): Promise<Omit<BrokerOptions, 'version'>> {
  const { mqttUrl, device } = question
  if (mqttUrl !== undefined) return { url: mqttUrl, clientId: defaultClientId, topicRoot: defaultTopics.root }
  const fail = (why: string): never => {
    throw new SimulationError(
      `The server does not say where its broker is: ${why}. Name it with --mqtt-url, or use --protocol http.`,
    )
  }
  const credentials = await askCredentials(question).catch((error: unknown) => {
    if (error instanceof SimulationError) return fail(error.message)
    throw error
  })
  const { alpn, client_id: clientId } = credentials
  return {
    url: brokerUrl(credentials) ?? fail('it has none'),
    topicRoot: credentials.topics.telemetry_publish.split('/')[0] ?? defaultTopics.root,
    // The id stands last: TOPIC_ROOT, with which a client id may begin, may hold the same digits.
    clientId: clientId.replace(new RegExp(`${device.id}$`), '{id}'),
    ...(alpn === null ? {} : { alpn }),
  }
}
