/**
 * Stands between devices and the layer, over HTTP and MQTT, and notes what was sent and what the layer acknowledged. It
 * stays while the layer is killed and started again elsewhere.
 */
import { Agent, createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net'
import mqttPacket from 'mqtt-packet'

/** A reading as a device sends it; its time names it. */
export interface Sent {
  readonly timestamp: string
  readonly data: Readonly<Record<string, number>>
}

/** Of each device, its readings by their time. */
export type Book = Map<number, Map<string, Sent['data']>>

export interface Recorder {
  readonly httpUrl: string
  readonly mqttUrl: string
  readonly sent: Book
  readonly acknowledged: Book
  /** Status codes of telemetry answers, with how often they came. */
  readonly answers: Map<number, number>
  /** How many readings were sent that had been sent before. */
  repeats(): number
  /** Where the layer is from now on. Connections of MQTT end unless the broker is the same. */
  pointTo(layer: { readonly httpUrl: string; readonly mqttUrl: string }): void
  close(): Promise<void>
}

/** @returns how many of the readings were in the book. */
export const note = (book: Book, deviceId: number, payload: Uint8Array | string): number => {
  const parsed = JSON.parse(payload.toString()) as Sent | Sent[]
  const readings = book.get(deviceId) ?? new Map<string, Sent['data']>()
  book.set(deviceId, readings)
  let known = 0
  for (const { timestamp, data } of Array.isArray(parsed) ? parsed : [parsed]) {
    if (readings.has(timestamp)) known += 1
    readings.set(timestamp, data)
  }
  return known
}

const listening = async (server: { listen: (port: number, host: string, done: () => void) => unknown }) => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
}

export const countOf = (book: Book): number => {
  let count = 0
  for (const readings of book.values()) count += readings.size
  return count
}

export async function startRecorder(): Promise<Recorder> {
  let target: { http: URL; mqtt: URL } | undefined
  const sent: Book = new Map()
  const acknowledged: Book = new Map()
  const answers = new Map<number, number>()
  let repeats = 0
  let agent = new Agent({ keepAlive: true, maxSockets: 1000 })

  const forward = (incoming: IncomingMessage, body: Buffer, answer: ServerResponse) => {
    const lost = () => {
      if (!answer.headersSent) answer.writeHead(502, { Connection: 'close' })
      answer.end()
    }
    if (target === undefined) return lost()
    // Every device says who it is in its key's place holder; the layer sees the key alone.
    const { 'x-device': device, host: _host, ...headers } = incoming.headers
    const counts = device !== undefined && incoming.method === 'POST'
    if (counts) repeats += note(sent, Number(device), body)
    const outgoing = request(
      new URL(incoming.url ?? '/', target.http),
      { method: incoming.method, headers, agent },
      (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('aborted', lost)
        response.on('error', lost)
        response.on('end', () => {
          if (!response.complete) return lost()
          const status = response.statusCode ?? 0
          if (counts) {
            answers.set(status, (answers.get(status) ?? 0) + 1)
            if (status === 201 || status === 202) note(acknowledged, Number(device), body)
          }
          answer.writeHead(status, response.headers)
          answer.end(Buffer.concat(chunks))
        })
      },
    )
    outgoing.on('error', lost)
    outgoing.end(body)
  }

  const http = createServer((incoming, answer) => {
    const chunks: Buffer[] = []
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
    incoming.on('end', () => forward(incoming, Buffer.concat(chunks), answer))
    incoming.on('error', () => answer.destroy())
  })
  http.keepAliveTimeout = 60_000

  const open = new Set<Socket>()
  const mqtt = createTcpServer((client) => {
    if (target === undefined) {
      client.destroy()
      return
    }
    const layer = connect(Number(target.mqtt.port), target.mqtt.hostname)
    const waiting = new Map<number, { device: number; payload: Buffer }>()
    const [fromDevice, fromLayer] = [mqttPacket.parser(), mqttPacket.parser()]
    fromDevice.on('packet', (packet: mqttPacket.Packet) => {
      if (packet.cmd !== 'publish') return
      const device = Number(packet.topic.split('/')[2])
      const payload = Buffer.from(packet.payload)
      repeats += note(sent, device, payload)
      if (packet.qos > 0) waiting.set(packet.messageId ?? 0, { device, payload })
    })
    fromLayer.on('packet', (packet: mqttPacket.Packet) => {
      if (packet.cmd !== 'puback') return
      const message = waiting.get(packet.messageId ?? 0)
      if (message) note(acknowledged, message.device, message.payload)
    })
    for (const socket of [client, layer]) {
      open.add(socket)
      socket.setNoDelay(true)
      socket.on('error', () => socket.destroy())
      socket.on('close', () => {
        open.delete(socket)
        client.destroy()
        layer.destroy()
      })
    }
    client.on('data', (chunk) => {
      fromDevice.parse(chunk)
      layer.write(chunk)
    })
    layer.on('data', (chunk) => {
      // Noted before the device knows of it: what it knows must be in the book.
      fromLayer.parse(chunk)
      client.write(chunk)
    })
  })
  await Promise.all([listening(http), listening(mqtt)])

  return {
    httpUrl: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    mqttUrl: `mqtt://127.0.0.1:${(mqtt.address() as AddressInfo).port}`,
    sent,
    acknowledged,
    answers,
    repeats: () => repeats,
    pointTo(layer) {
      const same = target?.mqtt.href === new URL(layer.mqttUrl).href
      target = { http: new URL(layer.httpUrl), mqtt: new URL(layer.mqttUrl) }
      agent.destroy()
      agent = new Agent({ keepAlive: true, maxSockets: 1000 })
      if (!same) for (const socket of open) socket.destroy()
    },
    async close() {
      target = undefined
      for (const socket of open) socket.destroy()
      http.closeAllConnections()
      agent.destroy()
      await Promise.all([http, mqtt].map((server) => new Promise((resolve) => server.close(resolve))))
    },
  }
}
