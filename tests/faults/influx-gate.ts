/**
 * An InfluxDB that can be made to fail: a proxy in front of a real one or, if there is none, a server that only accepts writes.
 * It records every accepted point.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { gunzipSync } from 'node:zlib'

export type Mode = 'well' | 'refusing' | 'hanging' | '503' | '429'

export interface Gate {
  readonly url: string
  /** The accepted points of each device in the order of their first arrival: time in ns, and the numeric fields. */
  readonly points: Map<number, Map<string, Record<string, number>>>
  set(mode: Mode): Promise<void>
  close(): Promise<void>
}

const line = /^device_telemetry,device_id=(\d+)\S* (\S+) (\d+)$/

const pointsOf = (body: string) =>
  body.split('\n').flatMap((text) => {
    const [, device, fields = '', time] = line.exec(text) ?? []
    if (device === undefined || time === undefined) return []
    const values: Record<string, number> = {}
    for (const field of fields.split(',')) {
      const [name = '', value] = field.split('=')
      if (name !== 'received_at') values[name] = Number(value)
    }
    return [{ device: Number(device), time, values }]
  })

const bodyOf = async (incoming: IncomingMessage): Promise<Buffer> => {
  const chunks: Buffer[] = []
  for await (const chunk of incoming as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** @param upstream URL of a real InfluxDB. */
export async function openGate(upstream: string | undefined): Promise<Gate> {
  let mode: Mode = 'well'
  const points: Gate['points'] = new Map()
  const sockets = new Set<Socket>()

  const note = (body: string) => {
    for (const { device, time, values } of pointsOf(body)) {
      const known = points.get(device) ?? new Map<string, Record<string, number>>()
      points.set(device, known)
      if (!known.has(time)) known.set(time, values)
    }
  }

  const standIn = (path: string): [status: number, body: string | Buffer] => {
    if (path.startsWith('/api/v2/write')) return [204, '']
    if (path.startsWith('/api/v2/buckets'))
      return [200, JSON.stringify({ buckets: [{ id: 'b', retentionRules: [{ everySeconds: 2_592_000 }] }] })]
    // Every query is answered without rows.
    return [200, '']
  }

  const answer = async (incoming: IncomingMessage, response: ServerResponse) => {
    const body = await bodyOf(incoming)
    const path = incoming.url ?? '/'
    if (mode === 'hanging') return
    if (mode === '503' || mode === '429') {
      response.writeHead(Number(mode), mode === '429' ? { 'Retry-After': '1' } : {})
      response.end()
      return
    }
    let [status, content] = standIn(path)
    let type = 'application/json'
    if (upstream !== undefined) {
      const {
        host: _host,
        connection: _connection,
        'content-length': _length,
        'transfer-encoding': _encoding,
        ...headers
      } = incoming.headers
      const got = await fetch(`${upstream}${path}`, {
        method: incoming.method ?? 'GET',
        headers: headers as Record<string, string>,
        ...(body.length > 0 ? { body: new Uint8Array(body) } : {}),
      })
      status = got.status
      content = Buffer.from(await got.arrayBuffer())
      type = got.headers.get('content-type') ?? type
    }
    if (status === 204 && path.startsWith('/api/v2/write'))
      note((incoming.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body).toString())
    response.writeHead(status, { 'Content-Type': type })
    response.end(content)
  }

  const server = createServer((incoming, response) => {
    answer(incoming, response).catch(() => response.destroy())
  })
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  const listen = (port: number) =>
    new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(port, '127.0.0.1', resolve)
    })
  await listen(0)
  const { port } = server.address() as AddressInfo
  const cut = () => {
    for (const socket of sockets) socket.destroy()
  }
  const stop = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve())
      cut()
    })

  return {
    url: `http://127.0.0.1:${port}`,
    points,
    async set(next) {
      if (next === 'refusing') await stop()
      else {
        if (mode === 'refusing') await listen(port)
        cut()
      }
      mode = next
    },
    async close() {
      if (mode !== 'refusing') await stop()
    },
  }
}
