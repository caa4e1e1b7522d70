/** A device that speaks MQTT 3.1.1 or 5: every message is one publish with QoS 1, and its PUBACK acknowledges it. */
import { connect, type IClientOptions, type MqttClient } from 'mqtt'
import pTimeout from 'p-timeout'
import { type DeviceTopics, TopicTree } from '../lib/mqtt/topics.ts'
import { backoffMs, isRefused, nothingAnswers, SimulationError } from './http-client.ts'
import type { TimerQueue } from './timer-queue.ts'
import {
  acknowledged,
  type CommandAnswer,
  type CommandMessage,
  commandOf,
  configurationOf,
  type Identity,
  type Message,
  type Outcome,
  type Uplink,
  type UplinkEvents,
} from './uplink.ts'

export interface BrokerOptions {
  readonly url: string
  /** 4 is MQTT 3.1.1. */
  readonly version: 4 | 5
  /** The client id, with `{id}` for the id of the device. */
  readonly clientId: string
  /** The first level of every topic. */
  readonly topicRoot: string
  /** What a client must name in the TLS handshake, for brokers that share a port with HTTP. */
  readonly alpn?: string | undefined
}

const connectTimeoutMs = 30_000
const keepaliveS = 60
/** How long a device may take to say that it goes, ms. */
const goodbyeMs = 5000
const firstReconnectMs = 250
const lastReconnectMs = 5000
/** A broker may learn of a new device a moment after its registration. */
const maxRefusals = 4
/** How long a device tries to connect for the first time, ms. */
const patienceMs = 120_000

/** The broker answered a CONNECT, or with MQTT 5 a message, with an error. */
const isRefusal = (error: unknown): error is Error =>
  error instanceof Error && typeof (error as { code?: unknown }).code === 'number'

const parsed = (payload: Buffer): unknown => {
  try {
    return JSON.parse(payload.toString())
  } catch {
    return undefined
  }
}

export class MqttUplink implements Uplink {
  readonly #broker: BrokerOptions
  readonly #device: Identity
  readonly #topics: DeviceTopics
  readonly #timers: TimerQueue
  readonly #events: UplinkEvents
  #client: MqttClient | undefined
  #over = false
  /** Each ends the waiting for the PUBACK of a message that is under way. */
  readonly #underWay = new Set<(reason: string) => void>()

  constructor(broker: BrokerOptions, device: Identity, timers: TimerQueue, events: UplinkEvents) {
    this.#broker = broker
    this.#device = device
    this.#topics = new TopicTree(broker.topicRoot).of(device.id)
    this.#timers = timers
    this.#events = events
  }

  async connect(): Promise<void> {
    const { url } = this.#broker
    let reason = 'there was no answer in time'
    let refusals = 0
    const deadline = this.#timers.now() + patienceMs
    for (let attempt = 0; !this.#over && refusals < maxRefusals; attempt++) {
      if (this.#timers.now() > deadline) break
      if (attempt > 0) await this.#timers.pause(backoffMs(attempt - 1))
      try {
        this.#client = await this.#open()
        return
      } catch (error) {
        if (isRefused(error)) throw nothingAnswers(url, '--mqtt-url')
        reason = error instanceof Error ? error.message : reason
        if (isRefusal(error)) refusals++
      }
    }
    throw new SimulationError(`${this.#device.name} could not connect to ${new URL(url).host}: ${reason}.`)
  }

  send({ payload, loseAnswer }: Message): Promise<Outcome> {
    return new Promise((resolve) => {
      const settle = (outcome: Outcome) => {
        this.#underWay.delete(end)
        resolve(outcome)
      }
      const end = (reason: string) => settle({ acknowledged: false, reason, final: false })
      if (this.#client === undefined || this.#over) return end('there was no PUBACK in time')
      this.#underWay.add(end)
      this.#client.publish(this.#topics.telemetryPublish, payload, { qos: 1 }, (error) =>
        error
          ? settle({ acknowledged: false, reason: error.message, final: isRefusal(error) })
          : settle(acknowledged),
      )
      // The message leaves with this turn of the loop, so the broker may receive it and its answer is lost.
      if (loseAnswer) setImmediate(() => this.disconnect())
    })
  }

  heartbeat(): void {
    this.#publish(this.#topics.statusHeartbeat, { status: 'online' }, 0)
  }

  /** The client keeps an answer over lost connections until its PUBACK comes. */
  answerCommand(id: CommandMessage['command_id'], answer: CommandAnswer): Promise<boolean> {
    const body = JSON.stringify({ command_id: id, ...answer })
    return new Promise((resolve) => {
      const settle = (taken: boolean) => {
        this.#underWay.delete(end)
        resolve(taken)
      }
      const end = () => settle(false)
      if (this.#client === undefined || this.#over) return end()
      this.#underWay.add(end)
      this.#client.publish(this.#topics.commandsResponsePublish, body, { qos: 1 }, (error) => settle(!error))
    })
  }

  reportConfiguration(version: number): void {
    this.#publish(this.#topics.configReportedPublish, { version }, 1)
  }

  disconnect(): void {
    this.#client?.stream.destroy()
  }

  giveUp(): void {
    this.#over = true
    this.#endWaiting('there was no PUBACK in time')
  }

  async close(goodbye: boolean): Promise<void> {
    const client = this.#client
    this.#client = undefined
    if (client === undefined || client.disconnecting) return
    this.#events.onConnected(false)
    // The client does not answer for a message whose connection it was told to end.
    this.#endWaiting('the connection was ended')
    if (!goodbye) {
      // The device does not come back by itself, and says nothing: the broker publishes the last will.
      client.options.reconnectPeriod = 0
      client.stream.destroy()
    } else if (client.connected) {
      await pTimeout(this.#sayGoodbye(client), { milliseconds: goodbyeMs, fallback: () => undefined })
    }
    client.end(true)
  }

  /** Every PUBACK may be lost with its connection, so the caller does not wait for ever. */
  async #sayGoodbye(client: MqttClient): Promise<void> {
    const { statusOffline } = this.#topics
    await client.publishAsync(statusOffline, '{"status":"offline"}', { qos: 1, retain: true })
    await client.endAsync()
  }

  #endWaiting(reason: string): void {
    for (const end of [...this.#underWay]) end(reason)
  }

  #publish(topic: string, body: unknown, qos: 0 | 1): void {
    // A message that needs no answer is not worth keeping for a broken connection, but its error must not end the process.
    if (this.#client?.connected) this.#client.publish(topic, JSON.stringify(body), { qos }, () => undefined)
  }

  #options(): IClientOptions {
    const { clientId, version, alpn } = this.#broker
    const { id, apiKey } = this.#device
    return {
      clientId: clientId.replace('{id}', String(id)),
      username: String(id),
      password: apiKey,
      protocolVersion: version,
      connectTimeout: connectTimeoutMs,
      keepalive: keepaliveS,
      // The first connection is repeated by `connect`, later ones by the client.
      reconnectPeriod: 0,
      resubscribe: false,
      will: {
        topic: this.#topics.statusOffline,
        payload: Buffer.from('{"status":"offline"}'),
        qos: 1,
        retain: true,
      },
      ...(alpn === undefined ? {} : { ALPNProtocols: [alpn] }),
    }
  }

  #open(): Promise<MqttClient> {
    return new Promise((resolve, reject) => {
      const client = connect(this.#broker.url, this.#options())
      let connected = false
      const fail = (error: Error) => {
        if (connected) return
        client.end(true)
        reject(error)
      }
      // The listener stays for the whole life of the client, because an error without a listener ends the process.
      client.on('error', (error) => {
        fail(error)
        if (isRefusal(error)) this.#endWaiting(error.message)
      })
      client.on('close', () => {
        fail(new Error('the connection was closed'))
        if (connected) this.#lost(client)
      })
      client.on('connect', () => {
        connected = true
        client.options.reconnectPeriod = firstReconnectMs
        this.#greet(client)
        resolve(client)
      })
      client.on('message', (topic, payload) => this.#receive(topic, payload))
    })
  }

  #lost(client: MqttClient): void {
    if (this.#client !== client) return
    if (this.#underWay.size > 0) this.#events.onRetry('connection lost')
    this.#events.onConnected(false)
    client.options.reconnectPeriod = Math.min(
      lastReconnectMs,
      2 * (client.options.reconnectPeriod ?? firstReconnectMs),
    )
  }

  #greet(client: MqttClient): void {
    const { statusOnline, commandsSubscribe, configSubscribe } = this.#topics
    // On AWS IoT `commands/#` leaves out `commands`; elsewhere a command may come twice, and the device notices it.
    const filters = [commandsSubscribe, `${commandsSubscribe}/#`, configSubscribe]
    client.subscribe(filters, { qos: 1 }, () => undefined)
    // Behind the subscriptions: with Mosquitto, this message brings the commands that wait.
    client.publish(statusOnline, '{"status":"online"}', { qos: 1, retain: true }, () => undefined)
    this.#events.onConnected(true)
  }

  #receive(topic: string, payload: Buffer): void {
    const body = parsed(payload)
    if (topic === this.#topics.configSubscribe) {
      const configuration = configurationOf(body)
      if (configuration !== undefined)
        this.#events.onConfiguration(configuration.version, configuration.values)
      return
    }
    const command = commandOf(body)
    if (command !== undefined) this.#events.onCommand(command)
  }
}
