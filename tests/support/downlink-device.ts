/** A device that keeps what the server says to it, over MQTT 3.1.1, MQTT 5 or HTTP. */
import { connectAsync, type IClientOptions, type IPublishPacket, type MqttClient } from 'mqtt'
import { onTestFinished } from 'vitest'
import { defaultTopics } from '../../lib/mqtt/topics.ts'

export interface Identity {
  readonly id: number
  readonly key: string
}

export interface Received {
  readonly topic: string
  // biome-ignore lint/suspicious/noExplicitAny: the tests look at documented fields.
  readonly body: any
  readonly packet: IPublishPacket
}

export class DownlinkDevice {
  readonly id: number
  readonly key: string
  readonly topics: ReturnType<typeof defaultTopics.of>
  readonly received: Received[] = []
  readonly #mqttUrl: string
  readonly #httpUrl: string
  #client: MqttClient | undefined

  constructor({ id, key }: Identity, urls: { readonly mqttUrl: string; readonly httpUrl: string }) {
    this.id = id
    this.key = key
    this.topics = defaultTopics.of(id)
    this.#mqttUrl = urls.mqttUrl
    this.#httpUrl = urls.httpUrl
  }

  /** Bodies of the commands so far, in the order of arrival. */
  get commands() {
    return this.received.filter(({ topic }) => topic.includes('/commands')).map(({ body }) => body)
  }

  /** Connects, subscribes to its commands, and says that it is online. It is disconnected when the test ends. */
  async connect(version: 4 | 5, options: IClientOptions = {}): Promise<void> {
    const client = await connectAsync(this.#mqttUrl, {
      protocolVersion: version,
      reconnectPeriod: 0,
      clientId: String(this.id),
      username: String(this.id),
      password: this.key,
      ...options,
    })
    this.#client = client
    client.on('error', () => {})
    client.on('message', (topic, payload, packet) => {
      this.received.push({ topic, body: JSON.parse(payload.toString()), packet })
    })
    onTestFinished(() => this.disconnect())
    const { statusOnline, commandsSubscribe } = this.topics
    // Mosquitto tells nobody of subscriptions: there the status brings the commands that wait.
    await client.subscribeAsync([commandsSubscribe, `${commandsSubscribe}/+`], { qos: 1 })
    await client.publishAsync(statusOnline, '{"status":"online"}', { qos: 1, retain: true })
  }

  subscribe(...filters: string[]): Promise<unknown> {
    return this.#connected().subscribeAsync(filters, { qos: 1 })
  }

  publish(
    topic: string,
    body: unknown,
    options: Parameters<MqttClient['publishAsync']>[2] = {},
  ): Promise<unknown> {
    return this.#connected().publishAsync(topic, JSON.stringify(body), { qos: 1, ...options })
  }

  /** An answer on `…/commands/response`. */
  answer(commandId: string, status: string, result?: unknown): Promise<unknown> {
    return this.publish(this.topics.commandsResponsePublish, { command_id: commandId, status, result })
  }

  async disconnect(): Promise<void> {
    await this.#client?.endAsync()
    this.#client = undefined
  }

  /** A request with its key. */
  // biome-ignore lint/suspicious/noExplicitAny: the tests look at documented fields.
  async request(method: string, path: string, body?: unknown): Promise<{ status: number; body: any }> {
    const answer = await fetch(`${this.#httpUrl}${path}`, {
      method,
      headers: { 'X-API-Key': this.key, 'Content-Type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    return { status: answer.status, body: await answer.json() }
  }

  #connected(): MqttClient {
    if (this.#client === undefined) throw new Error('the device is not connected')
    return this.#client
  }
}
