/** Devices that send all the time and repeat each reading until it is acknowledged, as a careful device does. */
import { setMaxListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, type MqttClient } from 'mqtt'
import type { Device } from '../support/standalone.ts'
import type { Recorder } from './recorder.ts'

export interface LoadOptions {
  readonly recorder: Recorder
  readonly http: readonly Device[]
  readonly mqtt: readonly Device[]
  /** Readings per second and device. */
  readonly rate: number
  /** Readings per HTTP message. */
  readonly batch?: number
}

export interface Load {
  /** The HTTP answer times since the last call, ms, ascending. */
  latencies(): number[]
  /** Makes no new readings. Resolves when all are acknowledged, or after `ms`. */
  stop(ms: number): Promise<void>
}

let clock = BigInt(Date.now()) * 1_000_000n
/** Gives each reading a time of its own. */
const nextTime = () => {
  clock += 1_000_003n
  return String(clock)
}
let number = 0
const nextReading = () => {
  number += 1
  return { timestamp: nextTime(), data: { n: number, v: number / 7 } }
}

const inFlight = 20
/** A device that is behind its schedule by more than this continues from now, ms. */
const maxLateMs = 100

export async function startLoad(options: LoadOptions): Promise<Load> {
  const { recorder, rate, batch = 1 } = options
  const ending = new AbortController()
  // Each running request listens for the abort signal.
  setMaxListeners(0, ending.signal)
  let sending = true
  let open = 0
  let latencies: number[] = []

  const post = async (device: Device, body: string) => {
    for (let tries = 0; !ending.signal.aborted; tries += 1) {
      const began = performance.now()
      try {
        const response = await fetch(`${recorder.httpUrl}/api/v1/devices/telemetry`, {
          method: 'POST',
          headers: {
            'Content-Type': 'application/json',
            'X-API-Key': device.key,
            'X-Device': `${device.id}`,
          },
          body,
          signal: ending.signal,
        })
        await response.arrayBuffer()
        latencies.push(performance.now() - began)
        if (response.ok) return
        if (response.status < 500 && response.status !== 429) return
      } catch {
        // The connection was lost: send the reading again.
      }
      await sleep(Math.min(1000, 50 * 2 ** tries) * (0.5 + Math.random() / 2))
    }
  }
  const every = async (ms: number, send: () => Promise<void>) => {
    let due = performance.now()
    while (sending) {
      // Make up for a late timer, but not for a longer stop.
      due = Math.max(due + ms, performance.now() - maxLateMs)
      if (open < inFlight * (options.http.length + options.mqtt.length)) {
        open += 1
        void send().finally(() => {
          open -= 1
        })
      }
      await sleep(Math.max(0, due - performance.now()))
    }
  }
  const overHttp = (device: Device) =>
    every((1000 / rate) * batch, async () => {
      const readings = Array.from({ length: batch }, nextReading)
      await post(device, JSON.stringify(batch === 1 ? readings[0] : readings))
    })

  const clients: MqttClient[] = []
  const overMqtt = async (device: Device) => {
    // Unlike `connectAsync` this also tries again when the server is killed before the first connection.
    const client = connect(recorder.mqttUrl, {
      protocolVersion: 4,
      clientId: `${device.id}`,
      username: `${device.id}`,
      password: device.key,
      clean: false,
      reconnectPeriod: 100,
      connectTimeout: 60_000,
    })
    client.on('error', () => {})
    clients.push(client)
    await every(1000 / rate, async () => {
      const topic = `iotflow/devices/${device.id}/telemetry`
      await client.publishAsync(topic, JSON.stringify(nextReading()), { qos: 1 }).catch(() => undefined)
    })
  }
  const running = [...options.http.map(overHttp), ...options.mqtt.map(overMqtt)]

  return {
    latencies() {
      const taken = latencies.sort((one, other) => one - other)
      latencies = []
      return taken
    },
    async stop(ms) {
      sending = false
      const deadline = performance.now() + ms
      while (open > 0 && performance.now() < deadline) await sleep(20)
      ending.abort()
      for (const client of clients) await client.endAsync(true)
      await Promise.allSettled(running)
    },
  }
}
