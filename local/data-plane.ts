/**
 * The data plane of AWS IoT Core in front of the broker of this machine, as far as the layer uses it: publish, retained
 * messages, the end of a connection. It listens on loopback only and takes calls that carry its own access key.
 */
import { randomBytes, timingSafeEqual } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Broker } from './broker.ts'

export interface DataPlane {
  readonly endpoint: string
  readonly region: string
  /** Made for this run; who has the access key may publish as the layer. */
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string }
  close(): Promise<void>
}

type Target = Pick<Broker, 'publish' | 'retained' | 'retainedTopics' | 'disconnect'>

/** As AWS IoT Core: a payload has at most 128 KB. */
const maxBytes = 128 * 1024

class Refusal extends Error {
  readonly status: number
  readonly type: string
  constructor(status: number, type: string, message: string) {
    super(message)
    this.status = status
    this.type = type
  }
}

const invalid = (message: string) => new Refusal(400, 'InvalidRequestException', message)

const bodyOf = async (request: IncomingMessage): Promise<Buffer> => {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > maxBytes)
      throw new Refusal(413, 'RequestEntityTooLargeException', 'The payload is too large.')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

const answer = async (request: IncomingMessage, target: Target): Promise<object> => {
  const url = new URL(request.url ?? '/', 'http://127.0.0.1')
  const [, resource = '', ...rest] = url.pathname.split('/')
  const name = decodeURIComponent(rest.join('/'))
  const is = (flag: string) => url.searchParams.get(flag) === 'true'
  switch (`${request.method} ${resource}`) {
    case 'POST topics': {
      const qos = url.searchParams.get('qos') ?? '0'
      if (qos !== '0' && qos !== '1') throw invalid('The QoS is 0 or 1.')
      const payload = await bodyOf(request)
      await target.publish({ topic: name, payload, qos: qos === '1' ? 1 : 0, retain: is('retain') })
      return { message: 'OK' }
    }
    case 'GET retainedMessage': {
      if (name === '') return { retainedTopics: target.retainedTopics().map((topic) => ({ topic })) }
      const found = target.retained(name)
      if (found === undefined)
        throw new Refusal(404, 'ResourceNotFoundException', 'There is no such message.')
      return { topic: name, payload: Buffer.from(found.payload).toString('base64'), qos: found.qos }
    }
    case 'DELETE connections': {
      const options = { cleanSession: is('cleanSession'), preventWill: is('preventWillMessage') }
      if (!(await target.disconnect(name, options)))
        throw new Refusal(404, 'ResourceNotFoundException', 'There is no such connection.')
      return {}
    }
    default:
      throw new Refusal(404, 'ResourceNotFoundException', 'There is no such operation.')
  }
}

/** @param target asked for each call: the broker may be started later than this. */
export async function openDataPlane(target: () => Target | undefined): Promise<DataPlane> {
  const credentials = {
    accessKeyId: randomBytes(20).toString('hex'),
    secretAccessKey: randomBytes(20).toString('hex'),
  }
  const isOurs = (authorization: string | undefined) => {
    const given = Buffer.from(/Credential=([0-9a-f]{40})\//.exec(authorization ?? '')?.[1] ?? '')
    const own = Buffer.from(credentials.accessKeyId)
    return given.length === own.length && timingSafeEqual(given, own)
  }
  const handle = async (request: IncomingMessage, response: ServerResponse) => {
    const send = (status: number, body: object, headers: Record<string, string> = {}) =>
      response.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(JSON.stringify(body))
    try {
      if (!isOurs(request.headers.authorization))
        throw new Refusal(403, 'ForbiddenException', 'The signature is not of the key of this run.')
      const broker = target()
      if (broker === undefined)
        throw new Refusal(503, 'ServiceUnavailableException', 'There is no broker yet.')
      send(200, await answer(request, broker))
    } catch (error) {
      const refusal = error instanceof Refusal ? error : invalid('The request could not be carried out.')
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
