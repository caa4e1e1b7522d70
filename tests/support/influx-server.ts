/** An HTTP server that acts as InfluxDB 2: it records requests and gives the answers that the test sets. */
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gunzipSync } from 'node:zlib'

export interface Heard {
  readonly method: string
  /** The path without its query. */
  readonly path: string
  readonly parameters: Readonly<Record<string, string>>
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  /** The decompressed body; empty when the request was cut off. */
  readonly body: string
  readonly compressed: boolean
  /** Number of the connection, from 1 in the order of opening. */
  readonly connection: number
}

export type Reply = (response: ServerResponse, heard: Heard) => void

/** An error of InfluxDB, with texts that must not reach a client or the log. */
export const answer =
  (status: number, body: unknown = undefined, headers: Record<string, string> = {}): Reply =>
  (response) => {
    const isText = typeof body === 'string'
    const json = isText || body === undefined || Buffer.isBuffer(body) ? body : JSON.stringify(body)
    const type = isText ? 'text/csv; charset=utf-8' : 'application/json; charset=utf-8'
    response
      .writeHead(status, { ...(json === undefined ? {} : { 'Content-Type': type }), ...headers })
      .end(json)
  }

/** Reads the request and never answers. */
export const silence: Reply = () => {}

/** Begins an answer, then closes the connection. */
export const cutAnswer =
  (status: number, begun: string | Buffer): Reply =>
  (response) => {
    response.writeHead(status, {
      'Content-Type': 'text/csv; charset=utf-8',
      'Content-Length': begun.length + 999,
    })
    response.write(begun, () => response.socket?.destroy())
  }

const lengthOf = (length: number, short: number, long: number) =>
  length < 16 ? Buffer.from([short | length]) : Buffer.from([long, length >> 8, length & 255])

/** MessagePack as InfluxDB writes it: numbers as doubles, bigints as 64 bits. */
export const pack = (value: unknown): Buffer => {
  if (value === null) return Buffer.from([0xc0])
  if (typeof value === 'boolean') return Buffer.from([value ? 0xc3 : 0xc2])
  if (typeof value === 'number') {
    const bytes = Buffer.from([0xcb, 0, 0, 0, 0, 0, 0, 0, 0])
    bytes.writeDoubleBE(value, 1)
    return bytes
  }
  if (typeof value === 'bigint') {
    const bytes = Buffer.from([0xd3, 0, 0, 0, 0, 0, 0, 0, 0])
    bytes.writeBigInt64BE(value, 1)
    return bytes
  }
  if (typeof value === 'string') {
    const text = Buffer.from(value)
    return Buffer.concat([Buffer.from([0xda, text.length >> 8, text.length & 255]), text])
  }
  if (Array.isArray(value)) return Buffer.concat([lengthOf(value.length, 0x90, 0xdc), ...value.map(pack)])
  const entries = Object.entries(value as object)
  return Buffer.concat([lengthOf(entries.length, 0x80, 0xde), ...entries.flat().map(pack)])
}

/** Points of one series in the answer to an InfluxQL query. */
export interface Series {
  readonly tags?: Readonly<Record<string, string>>
  readonly columns: readonly string[]
  readonly values: readonly (readonly unknown[])[]
}

/** The answer to an InfluxQL query: the series of each of its selects. */
export const packedSeries = (...selects: readonly (readonly Series[])[]): Buffer =>
  Buffer.concat(
    selects.map((series, statement) => {
      const named = series.map(({ tags = {}, columns, values }) => ({
        name: 'device_telemetry',
        tags: { device_id: '7', device_type: 'sensor', location: '', ...tags },
        columns: ['time', ...columns],
        values,
      }))
      return pack({ results: [{ statement_id: statement, series: named }] })
    }),
  )

/** The statements of an InfluxQL request. */
export const selectsOf = ({ body }: Heard): string[] =>
  (new URLSearchParams(body).get('q') ?? '').split(/; (?=SELECT )/)

/** The rows of one table as InfluxDB writes them, CRLF and annotations included. */
export const table = (columns: Readonly<Record<string, string>>, ...rows: readonly string[][]): string => {
  const names = Object.keys(columns)
  return [
    `#datatype,string,long,${Object.values(columns).join(',')}`,
    `#group,false,false${',false'.repeat(names.length)}`,
    `#default,_result,${','.repeat(names.length)}`,
    `,result,table,${names.join(',')}`,
    ...rows.map((row) => `,,0,${row.join(',')}`),
    '',
    '',
  ].join('\r\n')
}

export interface InfluxServer {
  readonly url: string
  /** All requests, oldest first. */
  readonly heard: readonly Heard[]
  /** The requests to one path, for example `/api/v2/write`. */
  at(path: string): Heard[]
  /** The number of open connections. */
  open(): number
  /** Sets the answer to requests for a path. Default: 204 for writes, no rows for queries. */
  reply(path: string, reply: Reply): void
  /** Switches on or off that requests to a path are cut off while their body arrives. */
  cutRequests(path: string | undefined): void
  end(): Promise<void>
}

const usual: Record<string, Reply> = {
  '/api/v2/write': answer(204),
  '/api/v2/delete': answer(204),
  '/api/v2/query': answer(200, '\r\n'),
  '/query': (response, heard) =>
    answer(200, packedSeries(...selectsOf(heard).map(() => [])))(response, heard),
}

export async function startInfluxServer(): Promise<InfluxServer> {
  const heard: Heard[] = []
  const replies = new Map(Object.entries(usual))
  const connections = new WeakMap<object, number>()
  let [opened, open] = [0, 0]
  let cut: string | undefined

  const server = createServer(async (request, response) => {
    const url = new URL(request.url ?? '/', 'http://influx')
    const { 'content-encoding': encoding } = request.headers
    const parts: Buffer[] = []
    const known = {
      method: request.method ?? '',
      path: url.pathname,
      parameters: Object.fromEntries(url.searchParams),
      headers: request.headers,
      compressed: encoding === 'gzip',
      connection: connections.get(request.socket) ?? 0,
    }
    if (url.pathname === cut) {
      heard.push({ ...known, body: '' })
      request.socket.destroy()
      return
    }
    for await (const part of request) parts.push(part as Buffer)
    const bytes = Buffer.concat(parts)
    const one = { ...known, body: (encoding === 'gzip' ? gunzipSync(bytes) : bytes).toString() }
    heard.push(one)
    const reply = replies.get(one.path) ?? answer(404, { code: 'not found', message: 'path not found' })
    reply(response, one)
  })
  server.on('connection', (socket) => {
    opened += 1
    open += 1
    connections.set(socket, opened)
    socket.once('close', () => {
      open -= 1
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    heard,
    at: (path) => heard.filter((one) => one.path === path),
    open: () => open,
    reply: (path, reply) => void replies.set(path, reply),
    cutRequests: (path) => {
      cut = path
    },
    async end() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
