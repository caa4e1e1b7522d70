/** A simulated device as the layer sees any device: it registers, connects over HTTP or MQTT, and sends. */
import { connect, type MqttClient } from 'mqtt'
import { deviceTopics } from '../lib/mqtt/topics.ts'
import {
  backoffMs,
  describe,
  GaveUp,
  isRefused,
  nothingAnswers,
  type Patience,
  pause,
  request,
  SimulationError,
} from './request.ts'
import type { Values } from './sensor.ts'

export type Protocol = 'http' | 'mqtt'

/** What registration gives a device. */
export interface Identity {
  readonly id: number
  readonly name: string
  readonly apiKey: string
}

/** A measurement with the time that the device gave it: ISO 8601, unique for the device. */
export interface SentReading {
  readonly timestamp: string
  readonly values: Values
}

/** What became of a reading: acknowledged, or the reason why not. */
export type Delivery =
  | { readonly acknowledged: true }
  | { readonly acknowledged: false; readonly reason: string }

/** How a device sends. */
export interface Uplink {
  /** Settles when the layer has acknowledged the reading, has refused it, or `patience` has ended. */
  send(reading: SentReading, patience: Patience): Promise<Delivery>
  close(): Promise<void>
}

/** @throws {SimulationError} when nothing answers at `url` or the layer refuses. */
export async function registerDevice(
  options: { url: string; name: string; enrollmentKey: string | undefined },
  signal: AbortSignal,
): Promise<Identity> {
  const { url, name, enrollmentKey } = options
  const refuse = (why: string): never => {
    throw new SimulationError(`${name} could not be registered: ${why}`)
  }
  const answer = await request(
    `${url}/api/v1/devices/register`,
    {
      method: 'POST',
      headers: {
        'Content-Type': 'application/json',
        ...(enrollmentKey === undefined ? {} : { 'X-Enrollment-Key': enrollmentKey }),
      },
      body: JSON.stringify({
        name,
        device_type: 'environment_sensor',
        description: 'A simulated device',
        firmware_version: '1.0.0',
      }),
    },
    { signal, maxLost: 0 },
  ).catch((error: unknown) => {
    if (isRefused(error)) throw nothingAnswers(url, '--url')
    return refuse(`${error instanceof GaveUp ? error.message : error}.`)
  })
  const { device } = (answer.body ?? {}) as { device?: { id?: unknown; api_key?: unknown } }
  if (answer.status === 201 && typeof device?.id === 'number' && typeof device.api_key === 'string') {
    return { id: device.id, name, apiKey: device.api_key }
  }
  return refuse(
    answer.status === 401 ? `${describe(answer)} Give the key with --enrollment-key.` : describe(answer),
  )
}

const bodyOf = ({ timestamp, values }: SentReading) => JSON.stringify({ timestamp, data: values })

/** Sends each reading as one POST: 201 acknowledges it, and so does 202, by which it is durably queued. */
export function httpUplink({ url, apiKey }: { url: string; apiKey: string }): Uplink {
  return {
    async send(reading, patience) {
      try {
        const answer = await request(
          `${url}/api/v1/devices/telemetry`,
          {
            method: 'POST',
            headers: { 'Content-Type': 'application/json', 'X-API-Key': apiKey },
            body: bodyOf(reading),
          },
          patience,
        )
        if (answer.status === 201 || answer.status === 202) return { acknowledged: true }
        return { acknowledged: false, reason: describe(answer) }
      } catch (error) {
        if (error instanceof GaveUp) return { acknowledged: false, reason: error.message }
        throw error
      }
    },
    close: async () => undefined,
  }
}

const firstReconnectMs = 250
const lastReconnectMs = 5000

const openClient = (url: string, { id, apiKey }: Identity): Promise<MqttClient> =>
  new Promise((resolve, reject) => {
    const client = connect(url, {
      clientId: String(id),
      username: String(id),
      password: apiKey,
      protocolVersion: 4,
      connectTimeout: 10_000,
      reconnectPeriod: firstReconnectMs,
    })
    let connected = false
    const fail = (error: Error) => {
      if (connected) return
      client.end(true)
      reject(error)
    }
    // The listener stays for the whole life of the client: an error that nobody listens to ends the process.
    client.on('error', fail)
    client.on('close', () => fail(new Error('the connection was closed')))
    client.on('connect', () => {
      connected = true
      resolve(client)
    })
  })

/** A CONNECT that the broker itself refused: trying again would give the same. */
const isRefusal = (error: unknown): error is Error =>
  error instanceof Error && typeof (error as { code?: unknown }).code === 'number'

const connectPatiently = async (
  url: string,
  identity: Identity,
  signal: AbortSignal,
): Promise<MqttClient> => {
  let reason = 'there was no answer in time'
  for (let attempt = 0; !signal.aborted; attempt++) {
    try {
      return await openClient(url, identity)
    } catch (error) {
      if (isRefused(error)) throw nothingAnswers(url, '--mqtt-url')
      reason = error instanceof Error ? error.message : reason
      if (isRefusal(error)) break
    }
    await pause(backoffMs(attempt), signal)
  }
  throw new SimulationError(`${identity.name} could not connect to ${new URL(url).host}: ${reason}.`)
}

/**
 * Connects; each reading is one QoS 1 message, and its PUBACK acknowledges it. After a lost connection the client
 * comes back by itself and sends again what was not acknowledged.
 * @throws {SimulationError} when nothing answers at `url` or the broker refuses the device.
 */
export async function mqttUplink(
  options: { url: string; device: Identity },
  signal: AbortSignal,
): Promise<Uplink> {
  const { url, device } = options
  const client = await connectPatiently(url, device, signal)
  const topic = deviceTopics(device.id).telemetryPublish
  /** Ends, without an acknowledgement, the readings under way. */
  const underWay = new Set<(reason: string) => void>()
  let retried: Patience['onRetry']
  let refused: string | undefined
  client.on('close', () => {
    if (underWay.size > 0) retried?.('connection lost')
    client.options.reconnectPeriod = Math.min(
      lastReconnectMs,
      2 * (client.options.reconnectPeriod ?? firstReconnectMs),
    )
  })
  client.on('connect', () => {
    client.options.reconnectPeriod = firstReconnectMs
  })
  client.on('error', (error) => {
    if (!isRefusal(error)) return
    refused = error.message
    for (const end of underWay) end(refused)
  })

  return {
    send: (reading, patience) =>
      new Promise((resolve) => {
        const settle = (delivery: Delivery) => {
          underWay.delete(end)
          patience.signal.removeEventListener('abort', giveUp)
          resolve(delivery)
        }
        const end = (reason: string) => settle({ acknowledged: false, reason })
        const giveUp = () => end('there was no PUBACK in time')
        if (refused !== undefined) return end(refused)
        if (patience.signal.aborted) return giveUp()
        patience.signal.addEventListener('abort', giveUp)
        underWay.add(end)
        retried = patience.onRetry
        client.publish(topic, bodyOf(reading), { qos: 1 }, (error) =>
          error ? end(error.message) : settle({ acknowledged: true }),
        )
      }),
    async close() {
      if (client.disconnecting) return
      // Without a connection, or with a message that never got its PUBACK, a polite end would wait for ever.
      const unfinished = Object.keys(client.outgoing).length > 0
      await client.endAsync(!client.connected || unfinished)
    },
  }
}
