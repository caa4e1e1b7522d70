/**
 * A subscriber that only counts and acknowledges: it does what the protocol requires of the bridge and nothing else. When its
 * connection ends it connects again, as the bridge does. Its arguments: port, client id, user name, password.
 */
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import mqttPacket, { type Packet } from 'mqtt-packet'
import { serve } from '../process.ts'

const [port = '', clientId = '', username = '', password = ''] = process.argv.slice(2)
const version = { protocolVersion: 5 } as const
let count = 0

/** Resolves when the connection has ended. */
const subscribe = (onSubscribed: () => void): Promise<void> =>
  new Promise((resolve) => {
    const socket = connect(Number(port), '127.0.0.1').setNoDelay(true)
    const parser = mqttPacket.parser(version)
    const send = (packet: Packet) => socket.write(mqttPacket.generate(packet, version))
    parser.on('packet', (packet: Packet) => {
      if (packet.cmd === 'suback') onSubscribed()
      if (packet.cmd !== 'publish') return
      send({ cmd: 'puback', messageId: packet.messageId ?? 0 })
      count += 1
    })
    socket.on('data', (chunk) => {
      socket.cork()
      parser.parse(chunk)
      socket.uncork()
    })
    socket.on('error', () => undefined)
    socket.once('close', () => resolve())
    send({
      ...{ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 5, clean: false, clientId, keepalive: 0 },
      ...{ username, password: Buffer.from(password), properties: { sessionExpiryInterval: 3600 } },
    } as Packet)
    const subscriptions = [{ topic: 'iotflow/devices/+/telemetry/#', qos: 1 } as const]
    send({ cmd: 'subscribe', messageId: 1, subscriptions })
  })

serve(async () => {
  await new Promise<void>((resolve) => {
    const run = async () => {
      for (;;) {
        await subscribe(resolve)
        await sleep(200)
      }
    }
    void run()
  })
  return { facts: { pid: process.pid }, ask: async () => count }
})
