/** MQTT load on raw sockets: QoS 1 publishes are prepared bytes, and each PUBACK triggers the next one. */
import { connect, type Socket } from 'node:net'
import mqttPacket from 'mqtt-packet'
import type { Run } from './measure.ts'

/** One device and its connection. */
export interface MqttDevice {
  readonly clientId: string
  readonly username: string
  readonly password: string
  readonly topic: string
  readonly payload: string
}

export interface MqttLoad {
  run(seconds: number): Promise<Run>
  close(): void
}

const drainMs = 20_000
const connectMs = 10_000
/** A client without subscriptions gets only CONNACK and PUBACK, which have the same length in MQTT 3.1.1. */
const answerBytes = 4
const connack = 0x20
const puback = 0x40

interface Connection {
  readonly socket: Socket
  /** The index is the packet id, from 1. */
  readonly packets: readonly Buffer[]
  /** When each packet id was sent, ms; 0 when it waits for no PUBACK. */
  readonly sentAt: Float64Array
}

/**
 * Opens one connection per device. They stay open between runs.
 * @param window publishes of one connection that wait for their PUBACK at the same time.
 */
export async function openMqttLoad(
  port: number,
  devices: readonly MqttDevice[],
  window: number,
): Promise<MqttLoad> {
  let latencies: number[] = []
  let errors = new Map<string, number>()
  const countError = (what: string) => errors.set(what, (errors.get(what) ?? 0) + 1)
  let completed = 0
  let deadline = 0
  let underWay = 0
  let closing = false
  let drained = () => {}

  const acknowledge = (connection: Connection, bytes: Buffer) => {
    const { packets, sentAt, socket } = connection
    const now = performance.now()
    const goOn = now < deadline
    const next: Buffer[] = []
    for (let at = 0; at < bytes.length; at += answerBytes) {
      const id = bytes.readUInt16BE(at + 2)
      const sent = sentAt[id] ?? 0
      const packet = packets[id]
      if (bytes[at] !== puback || sent === 0 || packet === undefined) {
        countError('a packet that answers nothing')
        continue
      }
      latencies.push(now - sent)
      sentAt[id] = goOn ? now : 0
      if (!goOn) underWay -= 1
      else {
        completed += 1
        next.push(packet)
      }
    }
    if (next.length > 0) socket.write(next.length === 1 ? (next[0] as Buffer) : Buffer.concat(next))
    if (underWay === 0) drained()
  }

  const open = ({ clientId, username, password, topic, payload }: MqttDevice): Promise<Connection> =>
    new Promise((resolve, reject) => {
      const packets = Array.from({ length: window }, (_, at) =>
        mqttPacket.generate({
          cmd: 'publish',
          topic,
          payload,
          qos: 1,
          messageId: at + 1,
          dup: false,
          retain: false,
        }),
      )
      const buffer = Buffer.allocUnsafe(4096)
      let rest: Buffer = Buffer.alloc(0)
      let ready = false
      const onBytes = (bytes: Buffer) => {
        const all = rest.length === 0 ? bytes : Buffer.concat([rest, bytes])
        const whole = all.length - (all.length % answerBytes)
        rest = Buffer.from(all.subarray(whole))
        if (whole === 0) return
        if (ready) acknowledge(connection, all.subarray(0, whole))
        else if (all[0] === connack && all[3] === 0) {
          ready = true
          resolve(connection)
        } else reject(new Error(`the broker refused ${clientId} (${all[3]})`))
      }
      const socket = connect({
        port,
        host: '127.0.0.1',
        noDelay: true,
        onread: {
          buffer,
          callback: (length) => {
            onBytes(buffer.subarray(0, length))
            return true
          },
        },
      })
      const connection = {
        socket,
        packets: [Buffer.alloc(0), ...packets],
        sentAt: new Float64Array(window + 1),
      }
      socket.setTimeout(connectMs, () => {
        if (!ready) socket.destroy(new Error('the broker did not answer in time'))
      })
      socket.once('connect', () => {
        socket.write(
          mqttPacket.generate({
            cmd: 'connect',
            protocolId: 'MQTT',
            protocolVersion: 4,
            clean: true,
            keepalive: 0,
            clientId,
            username,
            password: Buffer.from(password),
          }),
        )
      })
      socket.once('error', reject)
      socket.once('close', () => {
        reject(new Error(`the broker closed the connection of ${clientId}`))
        if (closing || !ready) return
        countError('connection lost')
        drained()
      })
    })

  const connections: Connection[] = []
  const close = () => {
    closing = true
    for (const { socket } of connections) socket.destroy()
  }
  try {
    // Connections are opened in small groups, because a thousand at once overflow the listen queue.
    for (let from = 0; from < devices.length; from += 20)
      connections.push(...(await Promise.all(devices.slice(from, from + 20).map(open))))
  } catch (error) {
    close()
    throw error
  }

  return {
    close,
    async run(seconds) {
      latencies = []
      errors = new Map()
      completed = 0
      const cpu = process.cpuUsage()
      const done = new Promise<void>((resolve) => {
        drained = resolve
      })
      deadline = performance.now() + seconds * 1000
      underWay = connections.length * window
      for (const { socket, packets, sentAt } of connections) {
        sentAt.fill(performance.now(), 1)
        socket.write(Buffer.concat(packets))
      }
      const late = setTimeout(
        () => {
          countError(`no PUBACK within ${drainMs / 1000} s`)
          drained()
        },
        seconds * 1000 + drainMs,
      )
      await done
      clearTimeout(late)
      const { user, system } = process.cpuUsage(cpu)
      return { completed, acknowledged: latencies.length, seconds, latencies, errors, loadCpu: user + system }
    },
  }
}
