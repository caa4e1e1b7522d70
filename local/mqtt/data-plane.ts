/**
 * The data plane of AWS IoT Core in front of the local broker, with the calls that the functions use: publish, read retained
 * messages, end a connection. It listens on loopback only and accepts calls with its own access key.
 */
import { randomBytes, timingSafeEqual } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Published } from '../../lib/broker/messenger.ts'
import { publishedHeaders } from '../../lib/broker/published-headers.ts'
import type { Broker, BrokerMessage } from './embedded/options.ts'

export interface DataPlane {
  readonly endpoint: string
  readonly region: string
  /** Made for this run. A caller with this access key publishes as the server. */
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string }
  close(): Promise<void>
}

type Target = Pick<Broker, 'publish' | 'retained' | 'retainedTopics' | 'disconnect'>

/** Largest payload, bytes, as on AWS IoT Core. */
const maxPayloadBytes = 128 * 1024

class RefusedCall extends Error {
  readonly status: number
  readonly type: string
  constructor(status: number, type: string, message: string) {
    super(message)
    this.status = status
    this.type = type
  }
}

const invalid = (message: string) => new RefusedCall(400, 'InvalidRequestException', message)

const bodyOf = async (request: IncomingMessage): Promise<Buffer> => {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > maxPayloadBytes)
      throw new RefusedCall(413, 'RequestEntityTooLargeException', 'The payload is too large.')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** The properties of MQTT 5 in a call; undefined when there are none. */
const propertiesOf = (request: IncomingMessage, query: URLSearchParams): BrokerMessage['properties'] => {
  const responseTopic = query.get('responseTopic') ?? undefined
  const expiry = Number(query.get('messageExpiry') ?? 0)
  const correlation = request.headers['x-amz-mqtt5-correlation-data']
  const properties = {
    ...(responseTopic === undefined ? {} : { responseTopic }),
    ...(typeof correlation === 'string' ? { correlationData: Buffer.from(correlation, 'base64') } : {}),
    ...(Number.isInteger(expiry) && expiry > 0 ? { messageExpiryInterval: expiry } : {}),
  }
  return Object.keys(properties).length === 0 ? undefined : properties
}

/** What AWS IoT Core does not tell of a published message. */
const headersOf = ({ reached, sessions, isConfirmed }: Published): Record<string, string> => ({
  ...(reached === undefined ? {} : { [publishedHeaders.reached]: String(reached) }),
  [publishedHeaders.sessions]: sessions.join(' '),
  [publishedHeaders.confirmed]: String(isConfirmed),
})

interface Answer {
  readonly body: object
  readonly headers?: Record<string, string>
}

const carryOut = async (request: IncomingMessage, target: Target): Promise<Answer> => {
  const url = new URL(request.url ?? '/', 'http://127.0.0.1')
  const [, resource = '', ...rest] = url.pathname.split('/')
  const name = decodeURIComponent(rest.join('/'))
  const is = (flag: string) => url.searchParams.get(flag) === 'true'
  switch (`${request.method} ${resource}`) {
    case 'POST topics': {
      const qos = url.searchParams.get('qos') ?? '0'
      if (qos !== '0' && qos !== '1') throw invalid('The QoS is 0 or 1.')
      const payload = await bodyOf(request)
      const properties = propertiesOf(request, url.searchParams)
      const message: BrokerMessage = { topic: name, payload, qos: qos === '1' ? 1 : 0, retain: is('retain') }
      const published = await target.publish({ ...message, ...(properties && { properties }) })
      return { body: { message: 'OK' }, headers: headersOf(published) }
    }
    case 'GET retainedMessage': {
      if (name === '')
        return { body: { retainedTopics: target.retainedTopics().map((topic) => ({ topic })) } }
      const found = target.retained(name)
      if (found === undefined)
        throw new RefusedCall(404, 'ResourceNotFoundException', 'There is no such message.')
      return {
        body: { topic: name, payload: Buffer.from(found.payload).toString('base64'), qos: found.qos },
      }
    }
    case 'DELETE connections': {
      const options = { cleanSession: is('cleanSession'), preventWill: is('preventWillMessage') }
      if (!(await target.disconnect(name, options)))
        throw new RefusedCall(404, 'ResourceNotFoundException', 'There is no such connection.')
      return { body: {} }
    }
    default:
      throw new RefusedCall(404, 'ResourceNotFoundException', 'There is no such operation.')
  }
}

/** @param target returns the broker; asked for each call, because the broker may start later. */
export async function openDataPlane(target: () => Target | undefined): Promise<DataPlane> {
  const credentials = {
    accessKeyId: randomBytes(20).toString('hex'),
    secretAccessKey: randomBytes(20).toString('hex'),
  }
  const isAuthorized = (authorization: string | undefined) => {
    const given = Buffer.from(/Credential=([0-9a-f]{40})\//.exec(authorization ?? '')?.[1] ?? '')
    const own = Buffer.from(credentials.accessKeyId)
    return given.length === own.length && timingSafeEqual(given, own)
  }
  const handle = async (request: IncomingMessage, response: ServerResponse) => {
    const send = (status: number, body: object, headers: Record<string, string> = {}) =>
      response.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(JSON.stringify(body))
    try {
      if (!isAuthorized(request.headers.authorization))
        throw new RefusedCall(403, 'ForbiddenException', 'The signature is not of the key of this run.')
      const broker = target()
      if (broker === undefined)
        throw new RefusedCall(503, 'ServiceUnavailableException', 'There is no broker yet.')
      const { body, headers } = await carryOut(request, broker)
      send(200, body, headers)
    } catch (error) {
      const refusal = error instanceof RefusedCall ? error : invalid('The request could not be carried out.')
      send(refusal.status, { message: refusal.message }, { 'x-amzn-ErrorType': refusal.type })
    }
  }
  const server = createServer((request, response) => void handle(request, response))
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', resolve)
  })
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    region: 'local',
    credentials,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections()
      await closed
    },
  }
}
