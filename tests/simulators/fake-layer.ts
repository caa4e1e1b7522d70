/** A layer of a few lines, over HTTP and MQTT, whose storage can be made to lie: what the simulators must find out. */
import { createServer, type IncomingMessage } from 'node:http'
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net'
import { Aedes } from 'aedes'

export interface Stored {
  timestamp: string
  data: Record<string, unknown>
}

export interface FakeLayer {
  readonly url: string
  readonly mqttUrl: string
  /** Ends every MQTT connection that is open, and says how many. */
  dropMqtt(): number
  close(): Promise<void>
}

export interface FakeLayerOptions {
  /** What becomes of the n-th acknowledged reading, from 1; undefined loses it. */
  store?: (reading: Stored, n: number) => Stored | undefined
  /** An answer in place of storing the n-th POST of telemetry, from 1. */
  refuse?: (n: number) => { status: number; retryAfter?: string } | undefined
  /** The n-th history request, from 1, is answered without the newest reading. */
  late?: (n: number) => boolean
}

const read = async (request: IncomingMessage): Promise<Record<string, unknown>> => {
  let text = ''
  for await (const chunk of request) text += chunk
  return JSON.parse(text) as Record<string, unknown>
}

export async function startFakeLayer(options: FakeLayerOptions = {}): Promise<FakeLayer> {
  const { store = (reading) => reading, refuse, late } = options
  const readings: Stored[][] = []
  let stored = 0
  let posts = 0
  let reads = 0
  const keep = (id: number, body: Record<string, unknown>) => {
    const kept = store(body as unknown as Stored, ++stored)
    if (kept) readings[id - 1]?.push(kept)
  }
  const idOf = (key: unknown) => Number(String(key).replace('key-', ''))

  const http = createServer(async (request, response) => {
    const answer = (status: number, body: unknown, headers: Record<string, string> = {}) =>
      response.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(JSON.stringify(body))
    const url = new URL(request.url ?? '', 'http://fake')
    if (url.pathname === '/api/v1/devices/register') {
      const { name } = await read(request)
      const id = readings.push([])
      return answer(201, { device: { id, name, api_key: `key-${id}` } })
    }
    const id = idOf(request.headers['x-api-key'])
    if (request.method === 'POST') {
      const body = await read(request)
      const refusal = refuse?.(++posts)
      if (refusal) {
        const headers = refusal.retryAfter ? { 'Retry-After': refusal.retryAfter } : undefined
        return answer(refusal.status, { error: { message: 'Not now.' } }, headers)
      }
      keep(id, body)
      return answer(201, { accepted: 1 })
    }
    const limit = Number(url.searchParams.get('limit'))
    const from = Number(url.searchParams.get('cursor') ?? 0)
    const all = late?.(++reads) ? (readings[id - 1] ?? []).slice(0, -1) : (readings[id - 1] ?? [])
    const data = all.slice(from, from + limit).map(({ timestamp, data }) => ({ timestamp, ...data }))
    return answer(200, { data, ...(from + limit < all.length ? { next_cursor: String(from + limit) } : {}) })
  })

  const broker = await Aedes.createBroker()
  broker.authenticate = (client, username, password, done) =>
    done(null, username === client.id && idOf(password) === Number(username))
  broker.authorizePublish = (client, packet, done) => {
    if (packet.topic === `iotflow/devices/${client?.id}/telemetry`) {
      keep(Number(client?.id), JSON.parse(packet.payload.toString()))
    }
    done(null)
  }
  const sockets = new Set<Socket>()
  const mqtt = createTcpServer((socket) => {
    sockets.add(socket)
    broker.handle(socket)
  })
  await Promise.all(
    [http, mqtt].map((server) => new Promise<void>((done) => server.listen(0, '127.0.0.1', done))),
  )
  return {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    mqttUrl: `mqtt://127.0.0.1:${(mqtt.address() as AddressInfo).port}`,
    dropMqtt: () => {
      const open = [...sockets].filter((socket) => !socket.destroyed)
      for (const socket of open) socket.destroy()
      return open.length
    },
    close: async () => {
      http.closeAllConnections()
      await new Promise<void>((done) => broker.close(() => done()))
      await Promise.all([http, mqtt].map((server) => new Promise((done) => server.close(done))))
    },
  }
}
