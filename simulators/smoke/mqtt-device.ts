/** The device of a smoke test on its MQTT connection, which is made once and never again by itself. */
import { connect, type MqttClient } from 'mqtt'
import type { Credentials } from '../broker.ts'
import { SimulationError } from '../http-client.ts'
import { type CommandAnswer, type CommandMessage, commandOf } from '../uplink.ts'

/** Time for the TCP connection, TLS and the CONNACK together, ms. */
const connectTimeoutMs = 20_000

const parsed = (payload: Buffer): unknown => {
  try {
    return JSON.parse(payload.toString())
  } catch {
    return undefined
  }
}

export class MqttDevice {
  readonly #client: MqttClient
  readonly #topics: Credentials['topics']
  readonly #commands: CommandMessage[] = []
  /** Resolves when the connection is gone, whoever ended it. */
  readonly ended: Promise<void>

  private constructor(client: MqttClient, topics: Credentials['topics']) {
    this.#client = client
    this.#topics = topics
    this.ended = new Promise((resolve) => client.once('close', () => resolve()))
    client.on('message', (_topic, payload) => {
      const command = commandOf(parsed(payload))
      if (command !== undefined) this.#commands.push(command)
    })
  }

  /** Connects as the credentials say. @throws {SimulationError} when the broker refuses, or does not answer. */
  static open(url: string, credentials: Credentials, apiKey: string): Promise<MqttDevice> {
    return new Promise((resolve, reject) => {
      const client = connect(url, {
        clientId: credentials.client_id,
        username: credentials.username,
        password: apiKey,
        protocolVersion: 4,
        connectTimeout: connectTimeoutMs,
        reconnectPeriod: 0,
        ...(credentials.alpn === null ? {} : { ALPNProtocols: [credentials.alpn] }),
      })
      const fail = (reason: string) => {
        client.end(true)
        reject(new SimulationError(`The broker at ${url} did not accept the device: ${reason}.`))
      }
      // The listeners stay: an error without one would end the process.
      client.on('error', ({ message }) => fail(message || 'no server listens there'))
      client.on('close', () => fail('it closed the connection'))
      client.on('connect', () => resolve(new MqttDevice(client, credentials.topics)))
    })
  }

  /** Resolves with the PUBACK, or never when the connection ends before. */
  async sendTelemetry(payload: string): Promise<void> {
    await this.#client.publishAsync(this.#topics.telemetry_publish, payload, { qos: 1 })
  }

  /** @throws {SimulationError} when the broker refuses the subscription. */
  async subscribeCommands(): Promise<void> {
    const { commands_subscribe: topic } = this.#topics
    const [granted] = await this.#client.subscribeAsync(topic, { qos: 1 })
    if (granted === undefined || granted.qos > 2)
      throw new SimulationError(`The broker refuses the subscription to ${topic}.`)
  }

  /** A command that has come; undefined when it has not. */
  received(id: string): CommandMessage | undefined {
    return this.#commands.find(({ command_id }) => command_id === id)
  }

  /** Resolves with the PUBACK, or never when the connection ends before. */
  async answer(id: CommandMessage['command_id'], answer: CommandAnswer): Promise<void> {
    const body = JSON.stringify({ command_id: id, ...answer })
    await this.#client.publishAsync(this.#topics.commands_response_publish, body, { qos: 1 })
  }

  close(): void {
    this.#client.end(true)
  }
}
