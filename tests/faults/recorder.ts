/**
 * A proxy between devices and the server, for HTTP and MQTT. It records which readings were sent and which the server acknowledged.
 * It keeps running while the server is killed and started again on other ports.
 */
import { Agent, createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net'
import mqttPacket from 'mqtt-packet'

/** A reading as a device sends it; its time identifies it. */
export interface Sent {
  readonly timestamp: string
  readonly data: Readonly<Record<string, number>>
}

/** The readings of each device, by their time. */
export type Book = Map<number, Map<string, Sent['data']>>

export interface Recorder {
  readonly httpUrl: string
  readonly mqttUrl: string
  readonly sent: Book
  readonly acknowledged: Book
  /** When the first acknowledgement of this reading came over MQTT, as `performance.now()`; undefined when none came. */
  acknowledgedAt(deviceId: number, timestamp: string): number | undefined
  /** How often each status code was answered to telemetry. */
  readonly answers: Map<number, number>
  /** The number of readings that were sent again. */
  repeats(): number
  /** Sets the server to forward to from now on. MQTT connections end unless the broker stays the same. */
  pointTo(server: { readonly httpUrl: string; readonly mqttUrl: string }): void
  close(): Promise<void>
}

/** @returns the number of these readings that were recorded. */
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
  const acknowledgedAt = new Map<string, number>()
  const answers = new Map<number, number>()
  let repeats = 0
  let agent = new Agent({ keepAlive: true, maxSockets: 1000 })

  const forward = (incoming: IncomingMessage, body: Buffer, answer: ServerResponse) => {
    const lost = () => {
      if (!answer.headersSent) answer.writeHead(502, { Connection: 'close' })
      answer.end()
    }
    if (target === undefined) return lost()
    // The load sets the header x-device for the recorder, which does not pass it on to the server.
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
    const broker = connect(Number(target.mqtt.port), target.mqtt.hostname)
    const waiting = new Map<number, { device: number; payload: Buffer }>()
    const [fromDevice, fromBroker] = [mqttPacket.parser(), mqttPacket.parser()]
    fromDevice.on('packet', (packet: mqttPacket.Packet) => {
      if (packet.cmd !== 'publish') return
      const device = Number(packet.topic.split('/')[2])
      const payload = Buffer.from(packet.payload)
      repeats += note(sent, device, payload)
      if (packet.qos > 0) waiting.set(packet.messageId ?? 0, { device, payload })
    })
    fromBroker.on('packet', (packet: mqttPacket.Packet) => {
      if (packet.cmd !== 'puback') return
      const message = waiting.get(packet.messageId ?? 0)
      if (!message) return
      note(acknowledged, message.device, message.payload)
      const { timestamp } = JSON.parse(message.payload.toString()) as Sent
      const name = `${message.device} ${timestamp}`
      if (!acknowledgedAt.has(name)) acknowledgedAt.set(name, performance.now())
    })
    for (const socket of [client, broker]) {
      open.add(socket)
      socket.setNoDelay(true)
      socket.on('error', () => socket.destroy())
      socket.on('close', () => {
        open.delete(socket)
        client.destroy()
        broker.destroy()
      })
    }
    client.on('data', (chunk) => {
      fromDevice.parse(chunk)
      broker.write(chunk)
    })
    broker.on('data', (chunk) => {
      // Record the acknowledgement before the device gets it: every acknowledgement that a device knows must be recorded.
      fromBroker.parse(chunk)
      client.write(chunk)
    })
  })
  await Promise.all([listening(http), listening(mqtt)])

  return {
    httpUrl: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    mqttUrl: `mqtt://127.0.0.1:${(mqtt.address() as AddressInfo).port}`,
    sent,
    acknowledged,
    acknowledgedAt: (deviceId, timestamp) => acknowledgedAt.get(`${deviceId} ${timestamp}`),
    answers,
    repeats: () => repeats,
    pointTo(server) {
      const same = target?.mqtt.href === new URL(server.mqttUrl).href
      target = { http: new URL(server.httpUrl), mqtt: new URL(server.mqttUrl) }
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
