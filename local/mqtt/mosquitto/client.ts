/** The server's own client of a Mosquitto: messages to devices, and commands to the dynamic-security plugin. */
import { randomBytes } from 'node:crypto'
import mqtt, { type MqttClient } from 'mqtt'
import pTimeout from 'p-timeout'
import { controlTopic } from '../../../lib/broker/dynamic-security.ts'
import type { Published } from '../../../lib/broker/messenger.ts'
import type { MqttConnection } from '../../../lib/config.ts'
import type { Broker, BrokerMessage } from '../embedded/options.ts'

/** What the data plane asks of a broker, and the plugin's commands. */
export interface Mosquitto extends Pick<Broker, 'publish' | 'retained' | 'retainedTopics' | 'disconnect'> {
  /** Resolves when it is connected for the first time. */
  readonly ready: Promise<void>
  /** Carries out commands of the plugin, and returns the data of each answer. @throws {Error} when one failed. */
  sendCommands(commands: readonly object[]): Promise<readonly unknown[]>
  close(): Promise<void>
}

/** The plugin's answer to one command. */
interface CommandAnswer {
  readonly command: string
  readonly correlationData?: string
  readonly error?: string
  readonly data?: unknown
}

/** Errors of a command that finds its effect in place already: to create what exists, to delete what does not. */
const alreadyDone = /already exists|not found/i
/** Reason code of MQTT 5 in a PUBACK. */
const noSubscribers = 0x10
/** CONNACK codes "unacceptable protocol version": of MQTT 5, and of 3.1.1 brokers. */
const versionRefused: readonly unknown[] = [0x84, 1]

/**
 * Connects, and reconnects by itself. Each process has a connection of its own.
 * @param answerMs how long it waits for each answer of the broker, ms.
 */
export function connectMosquitto(connection: MqttConnection, answerMs = 3000): Mosquitto {
  return new MosquittoClient(connection, answerMs)
}

class MosquittoClient implements Mosquitto {
  readonly ready: Promise<void>
  private readonly connection: MqttConnection
  private readonly client: MqttClient
  private readonly answerMs: number
  /** Receivers of answers by correlation data. */
  private readonly waiting = new Map<string, (answers: CommandAnswer[]) => void>()
  /** Reason codes of PUBACKs by packet id, until `send` reads them; mqtt.js passes on those of failures only. */
  private readonly reasonCodes = new Map<number, number>()

  constructor(connection: MqttConnection, answerMs: number) {
    const { url, username, password } = connection
    this.connection = connection
    this.answerMs = answerMs
    const client = mqtt.connect(url, {
      // MQTT 5 tells with each PUBACK whether somebody was subscribed.
      protocolVersion: 5,
      username,
      password,
      clientId: `iotflow-server-${randomBytes(6).toString('hex')}`,
      reconnectPeriod: 500,
      connectTimeout: 5000,
      // A message that cannot be sent now fails, so that the caller knows.
      queueQoSZero: false,
    })
    this.client = client
    client.on('error', (error) => {
      if (!versionRefused.includes((error as { code?: unknown }).code)) return
      client.options.protocolVersion = 4
      client.reconnect()
    })
    client.on('packetreceive', (packet) => {
      if (packet.cmd === 'puback') this.reasonCodes.set(packet.messageId as number, packet.reasonCode ?? 0)
    })
    client.on('message', (_topic, payload) => this.receive(payload))
    this.ready = new Promise((resolve) => {
      client.on('connect', () => {
        client.subscribe(`${controlTopic}/response`, { qos: 1 }, () => resolve())
      })
    })
  }

  async publish(message: BrokerMessage): Promise<Published> {
    if (message.topic !== controlTopic)
      return { reached: await this.send(message), sessions: [], isConfirmed: false }
    const { commands } = JSON.parse(message.payload.toString()) as { commands: object[] }
    await this.sendCommands(commands)
    return { reached: true, sessions: [], isConfirmed: false }
  }

  async sendCommands(commands: readonly object[]): Promise<readonly unknown[]> {
    const correlationData = randomBytes(8).toString('hex')
    const answered = new Promise<CommandAnswer[]>((resolve) => {
      this.waiting.set(correlationData, resolve)
    })
    const payload = JSON.stringify({
      commands: commands.map((command) => ({ ...command, correlationData })),
    })
    try {
      await this.send({ topic: controlTopic, payload, qos: 1, retain: false })
      const answers = await this.inTime(answered)
      const failed = answers.find(({ error }) => error !== undefined && !alreadyDone.test(error))
      if (failed) throw new Error(`the broker refuses ${failed.command}: ${failed.error}`)
      return answers.map(({ data }) => data)
    } finally {
      this.waiting.delete(correlationData)
    }
  }

  /** Always undefined: the server keeps its retained content in the registry and never reads it from Mosquitto. */
  retained(): undefined {
    return undefined
  }

  retainedTopics(): string[] {
    if (!this.client.connected) throw new Error('the broker cannot be reached')
    return []
  }

  async disconnect(clientId: string): Promise<boolean> {
    const [id] = /[1-9]\d{0,14}/.exec(clientId) ?? []
    if (id === undefined) return false
    // The plugin ends the connections of an account whenever the account is modified, even without a change.
    await this.sendCommands([{ command: 'modifyClient', username: id, textname: '' }])
    // A client with the same id and a clean session ends the old session.
    const successor = await mqtt.connectAsync(this.connection.url, {
      username: this.connection.username,
      password: this.connection.password,
      clientId: id,
      clean: true,
      reconnectPeriod: 0,
      connectTimeout: this.answerMs,
    })
    await successor.endAsync()
    return true
  }

  async close(): Promise<void> {
    await this.client.endAsync(true)
  }

  /** @returns whether somebody was subscribed; undefined where the broker does not tell. */
  private async send({ topic, payload, ...options }: BrokerMessage): Promise<boolean | undefined> {
    if (!this.client.connected) throw new Error('the broker cannot be reached')
    const bytes = typeof payload === 'string' ? payload : Buffer.from(payload)
    const sent = await this.inTime(this.client.publishAsync(topic, bytes, options))
    const { messageId } = sent as { messageId?: number }
    const reasonCode = messageId === undefined ? undefined : this.reasonCodes.get(messageId)
    if (messageId !== undefined) this.reasonCodes.delete(messageId)
    if (reasonCode === undefined || this.client.options.protocolVersion !== 5) return undefined
    return reasonCode !== noSubscribers
  }

  private inTime<T>(answer: Promise<T>): Promise<T> {
    return pTimeout(answer, { milliseconds: this.answerMs, message: 'the broker does not answer' })
  }

  private receive(payload: Buffer): void {
    try {
      const { responses = [] } = JSON.parse(payload.toString()) as { responses?: CommandAnswer[] }
      const [first] = responses
      if (first?.correlationData !== undefined) this.waiting.get(first.correlationData)?.(responses)
    } catch {
      // Only the plugin writes to this topic; broken JSON answers no command.
    }
  }
}
