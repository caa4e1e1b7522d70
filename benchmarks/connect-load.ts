/** A fleet that connects over MQTT and disconnects again, as after an outage of its network: on raw sockets. */
import { connect } from 'node:net'
import mqttPacket from 'mqtt-packet'
import type { Run } from './measure.ts'
import type { MqttDevice } from './mqtt-load.ts'

/** Connections that are opened at the same time: more at once could overflow the listen queue. */
const parallel = 100
const connackTimeoutMs = 10_000
const accepted = 0
const connackBytes = 4

const connectPacket = ({ clientId, username, password }: MqttDevice): Buffer =>
  mqttPacket.generate({
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 4,
    clean: true,
    keepalive: 60,
    clientId,
    username,
    password: Buffer.from(password),
  })

const disconnectPacket = mqttPacket.generate({ cmd: 'disconnect' })

/** Connects and, when the CONNACK is there, disconnects. @returns milliseconds until the CONNACK; rejects without one. */
const visit = (port: number, packet: Buffer): Promise<number> =>
  new Promise((resolve, reject) => {
    const began = performance.now()
    let latency: number | undefined
    const socket = connect({ port, host: '127.0.0.1', noDelay: true }, () => socket.write(packet))
    socket.setTimeout(connackTimeoutMs, () => socket.destroy(new Error('the broker did not answer in time')))
    socket.once('data', (answer) => {
      if (answer.length < connackBytes || answer[3] !== accepted)
        return socket.destroy(new Error(`the broker refused a client (${answer[3]})`))
      latency = performance.now() - began
      return socket.end(disconnectPacket)
    })
    socket.once('error', reject)
    socket.once('close', () =>
      latency === undefined ? reject(new Error('the broker closed a connection')) : resolve(latency),
    )
  })

/** @returns a load of which each run connects every device `times` times. */
export function connectLoad(port: number, devices: readonly MqttDevice[], times: number) {
  const packets = devices.map(connectPacket)
  return async (): Promise<Run> => {
    const latencies: number[] = []
    const errors = new Map<string, number>()
    const cpu = process.cpuUsage()
    const began = performance.now()
    for (let pass = 0; pass < times; pass += 1)
      for (let from = 0; from < packets.length; from += parallel)
        for (const outcome of await Promise.allSettled(
          packets.slice(from, from + parallel).map((packet) => visit(port, packet)),
        )) {
          if (outcome.status === 'fulfilled') latencies.push(outcome.value)
          else {
            const { message } = outcome.reason as Error
            errors.set(message, (errors.get(message) ?? 0) + 1)
          }
        }
    const { user, system } = process.cpuUsage(cpu)
    const seconds = (performance.now() - began) / 1000
    const completed = latencies.length
    return { completed, acknowledged: completed, seconds, latencies, errors, loadCpu: user + system }
  }
}
