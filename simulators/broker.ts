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

interface Credentials {
  readonly mqtt_host: string
  readonly mqtt_port: number | null
  readonly mqtt_tls_port: number | null
  readonly alpn: string | null
  readonly client_id: string
  readonly topics: { readonly telemetry_publish: string }
}

const defaultClientId = 'iotflow-device-{id}'
const maxLost = 2

/** IPv6 addresses stand in brackets. */
const inUrl = (host: string) => (host.includes(':') && !host.startsWith('[') ? `[${host}]` : host)

/** @throws {SimulationError} when the server has no broker, or does not tell. */
export async function findBroker(question: BrokerQuestion): Promise<Omit<BrokerOptions, 'version'>> {
  const { url, mqttUrl, device, client, over } = question
  if (mqttUrl !== undefined) return { url: mqttUrl, clientId: defaultClientId, topicRoot: defaultTopics.root }
  const fail = (why: string): never => {
    throw new SimulationError(
      `The server does not say where its broker is: ${why}. Name it with --mqtt-url, or use --protocol http.`,
    )
  }
  const answer = await client
    .request(
      `${url}/api/v1/devices/mqtt-credentials`,
      { headers: { 'X-API-Key': device.apiKey } },
      { over, maxLost },
    )
    .catch((error: unknown) => {
      if (error instanceof GaveUp) return fail(error.message)
      throw error
    })
  const { credentials } = (answer.body ?? {}) as { credentials?: Credentials }
  if (answer.status !== 200 || credentials === undefined) return fail(describe(answer).replace(/\.$/, ''))
  const { mqtt_host: host, mqtt_port: port, mqtt_tls_port: tlsPort, alpn, client_id: clientId } = credentials
  const broker = {
    topicRoot: credentials.topics.telemetry_publish.split('/')[0] ?? defaultTopics.root,
    clientId: clientId.replace(new RegExp(`(?<!\\d)${device.id}(?!\\d)`), '{id}'),
    ...(alpn === null ? {} : { alpn }),
  }
  if (port !== null) return { ...broker, url: `mqtt://${inUrl(host)}:${port}` }
  if (tlsPort !== null) return { ...broker, url: `mqtts://${inUrl(host)}:${tlsPort}` }
  return fail('it has none')
}
