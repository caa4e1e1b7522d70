/** A small server over HTTP and MQTT whose storage can lose, alter or repeat readings: the simulators must notice it. */
import { createServer, type IncomingMessage } from 'node:http'
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net'
import { Aedes, type PublishPacket } from 'aedes'

export interface Stored {
  timestamp: string
  data: Record<string, unknown>
  metadata?: Record<string, unknown>
}

/** A request or a message, as it came. */
export interface Arrival {
  readonly id: number
  readonly over: 'http' | 'mqtt'
  readonly topic: string
  readonly body: unknown
}

export interface FakeServer {
  readonly url: string
  readonly mqttUrl: string
  /** The names of the devices; the first has the id 1. */
  readonly names: readonly string[]
  /** Everything that came from devices. */
  readonly arrivals: readonly Arrival[]
  /** How often each path was called, by method and path with `{id}` for numbers. */
  readonly calls: ReadonlyMap<string, number>
  /** Closes every open MQTT connection. @returns how many. */
  dropMqtt(): number
  /** The server says this to a device. */
  publish(topic: string, body: unknown, retain?: boolean): Promise<void>
  close(): Promise<void>
}

export interface FakeServerOptions {
  /** Changes the n-th acknowledged reading, from 1, before it is stored; undefined loses it, a list stores each. */
  store?: (reading: Stored, n: number) => Stored | readonly Stored[] | undefined
  /** Refuses the n-th POST of telemetry, from 1, instead of storing it. */
  refuse?: (n: number) => { status: number; retryAfter?: string } | undefined
  /** Whether the answer to the n-th history request, from 1, leaves out the newest reading. */
  late?: (n: number) => boolean
  /** The admin token; undefined: there is no import, and no other call of operators. */
  adminToken?: string
  /** What a device is asked to do when it asks over HTTP, once. */
  commands?: readonly unknown[]
  configuration?: { version: number; configuration: Record<string, unknown> }
}

const read = async (request: IncomingMessage): Promise<string> => {
  let text = ''
  for await (const chunk of request) text += chunk
  return text
}

const parsed = (text: string): unknown => (text === '' ? undefined : JSON.parse(text))

/** What the server keeps. */
class Storage {
  readonly names: string[] = []
  readonly keys: string[] = []
  readonly #readings = new Map<number, Map<string, Stored>>()
  readonly arrivals: Arrival[] = []
  #stored = 0
  readonly #store: NonNullable<FakeServerOptions['store']>

  constructor(store: FakeServerOptions['store']) {
    this.#store = store ?? ((reading) => reading)
  }

  register(name: string): { id: number; name: string; api_key: string } {
    const id = this.names.push(name)
    this.keys.push(`key-${id}`)
    this.#readings.set(id, new Map())
    return { id, name, api_key: this.keys[id - 1] ?? '' }
  }

  /** 0 for an unknown key. */
  idOf(key: unknown): number {
    return this.keys.indexOf(String(key)) + 1
  }

  /** A list of readings, or one. A second reading of one time replaces the first, as in the real server. */
  keep(id: number, body: unknown): void {
    for (const reading of (Array.isArray(body) ? body : [body]) as Stored[]) {
      const kept = this.#store(reading, ++this.#stored) ?? []
      for (const one of Array.isArray(kept) ? kept : [kept]) this.#readings.get(id)?.set(one.timestamp, one)
    }
  }

  all(id: number): Stored[] {
    return [...(this.#readings.get(id)?.values() ?? [])].toSorted((one, other) =>
      one.timestamp < other.timestamp ? -1 : 1,
    )
  }
}

const startHttp = (storage: Storage, options: FakeServerOptions, mqttPort: () => number) => {
  const { refuse, late, adminToken, configuration } = options
  const commands = [...(options.commands ?? [])]
  const calls = new Map<string, number>()
  let posts = 0
  let reads = 0
  const history = (id: number, query: URLSearchParams) => {
    const limit = Number(query.get('limit'))
    const from = Number(query.get('cursor') ?? 0)
    const stored = storage.all(id)
    const all = late?.(++reads) ? stored.slice(0, -1) : stored
    const data = all.slice(from, from + limit).map(({ timestamp, data, metadata }) => ({
      timestamp,
      ...data,
      metadata: Object.fromEntries(
        Object.entries(metadata ?? {}).map(([name, value]) => [name, String(value)]),
      ),
    }))
    return { data, ...(from + limit < all.length ? { next_cursor: String(from + limit) } : {}) }
  }
  const server = createServer(async (request, response) => {
    const answer = (status: number, body: unknown, headers: Record<string, string> = {}) =>
      response.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(JSON.stringify(body))
    const refused = (status: number, message: string) => answer(status, { error: { message } })
    const { pathname, searchParams } = new URL(request.url ?? '', 'http://fake')
    const call = `${request.method} ${pathname.replace(/\/\d+/, '/{id}')}`
    calls.set(call, (calls.get(call) ?? 0) + 1)
    const text = await read(request)
    if (call === 'POST /api/v1/devices/register') {
      const { name } = parsed(text) as { name: string }
      if (storage.names.includes(name)) return refused(409, 'The name is taken.')
      return answer(201, { device: storage.register(name) })
    }
    if (pathname.startsWith('/api/v1/admin/')) {
      if (adminToken === undefined) return refused(404, 'There is no such route.')
      if (request.headers.authorization !== `Bearer ${adminToken}`) return refused(401, 'The token is wrong.')
      return admin(call, pathname, searchParams, text, answer)
    }
    const id = storage.idOf(request.headers['x-api-key'])
    if (id === 0) return refused(401, 'The key is not known.')
    if (call === 'GET /api/v1/devices/status') return answer(200, { device: { id } })
    if (call === 'GET /api/v1/devices/mqtt-credentials')
      return answer(200, {
        credentials: {
          mqtt_host: '127.0.0.1',
          mqtt_port: mqttPort(),
          mqtt_tls_port: null,
          alpn: null,
          client_id: `iotflow-device-${id}`,
          topics: { telemetry_publish: `iotflow/devices/${id}/telemetry` },
        },
      })
    if (call === 'GET /api/v1/devices/config')
      return answer(200, configuration ?? { version: 0, configuration: {} }, { ETag: '"1"' })
    if (call === 'GET /api/v1/devices/commands')
      return options.commands === undefined
        ? refused(404, 'There is no such route.')
        : answer(200, { commands: commands.splice(0) })
    if (call === 'GET /api/v1/telemetry/{id}') return answer(200, history(id, searchParams))
    storage.arrivals.push({ id, over: 'http', topic: pathname, body: parsed(text) })
    if (call !== 'POST /api/v1/devices/telemetry') return answer(200, {})
    const refusal = refuse?.(++posts)
    if (refusal)
      return answer(
        refusal.status,
        { error: { message: 'Not now.' } },
        refusal.retryAfter ? { 'Retry-After': refusal.retryAfter } : {},
      )
    storage.keep(id, parsed(text))
    return answer(201, { accepted: 1, rejected: [] })
  })
  const admin = (
    call: string,
    pathname: string,
    query: URLSearchParams,
    text: string,
    answer: (status: number, body: unknown) => unknown,
  ) => {
    if (call === 'POST /api/v1/admin/devices/import') {
      const rows = text.trim().split('\n')
      const names = rows.map((row) => (JSON.parse(row) as { name: string }).name)
      const fresh = names.filter((name) => !storage.names.includes(name))
      const errors = names.flatMap((name, at) =>
        fresh.includes(name) ? [] : [{ row: at + 1, name, reason: 'The name is taken.' }],
      )
      const keys = fresh.map((name) => ({ row: names.indexOf(name) + 1, ...storage.register(name) }))
      return answer(200, { status: 'success', created: keys.length, updated: 0, errors, keys })
    }
    if (call === 'GET /api/v1/admin/devices') {
      const found = storage.names.map((name, at) => ({ id: at + 1, name }))
      return answer(200, { devices: found.filter(({ name }) => name.includes(query.get('q') ?? '')) })
    }
    const id = Number(pathname.split('/').at(-2))
    storage.keys[id - 1] = `new-key-${id}`
    return answer(200, { api_key: storage.keys[id - 1] })
  }
  return { server, calls }
}

export async function startFakeServer(options: FakeServerOptions = {}): Promise<FakeServer> {
  const storage = new Storage(options.store)
  const sockets = new Set<Socket>()
  const broker = await Aedes.createBroker()
  broker.authenticate = (client, username, password, done) =>
    done(null, client.id === `iotflow-device-${username}` && storage.idOf(password) === Number(username))
  broker.authorizePublish = (client, packet, done) => {
    const id = Number(client?.id.split('-').at(-1))
    const topic = packet.topic.replace(`iotflow/devices/${id}/`, '')
    const body = parsed(packet.payload.toString())
    storage.arrivals.push({ id, over: 'mqtt', topic, body })
    if (topic === 'telemetry') storage.keep(id, body)
    done(null)
  }
  const mqtt = createTcpServer((socket) => {
    sockets.add(socket)
    broker.handle(socket)
  })
  const portOf = (server: { address(): unknown }) => (server.address() as AddressInfo).port
  const { server: http, calls } = startHttp(storage, options, () => portOf(mqtt))
  await Promise.all(
    [http, mqtt].map((server) => new Promise<void>((done) => server.listen(0, '127.0.0.1', done))),
  )
  return {
    url: `http://127.0.0.1:${portOf(http)}`,
    mqttUrl: `mqtt://127.0.0.1:${portOf(mqtt)}`,
    names: storage.names,
    arrivals: storage.arrivals,
    calls,
    dropMqtt: () => {
      const open = [...sockets].filter((socket) => !socket.destroyed)
      for (const socket of open) socket.destroy()
      return open.length
    },
    publish: (topic, body, retain = false) => {
      const packet = { cmd: 'publish', topic, payload: JSON.stringify(body), qos: 1, retain, dup: false }
      return new Promise((done, fail) =>
        broker.publish(packet as PublishPacket, (error) => (error ? fail(error) : done())),
      )
    },
    close: async () => {
      http.closeAllConnections()
      await new Promise<void>((done) => broker.close(() => done()))
      await Promise.all([http, mqtt].map((server) => new Promise((done) => server.close(done))))
    },
  }
}
