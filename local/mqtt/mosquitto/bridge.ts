/**
 * Brings messages from a Mosquitto to the functions of the rules. The broker gets its PUBACK when a message is durable here;
 * until then it sends the message again, over a persistent session, to this process or the next one.
 */
import { LRUCache } from 'lru-cache'
import pRetry from 'p-retry'
import pTimeout from 'p-timeout'
import type { MqttConnection } from '../../../lib/config.ts'
import type { AppError } from '../../../lib/errors.ts'
import type { TopicTree } from '../../../lib/mqtt/topics.ts'
import type { TakeMessage } from '../../../lib/telemetry/delivery.ts'
import { DirectTelemetry, type TelemetryTopic, telemetryTopicOf } from '../direct-telemetry.ts'
import type { RuleMessage, TopicRule } from '../rules.ts'
import { Acknowledgements, type KnownMessage } from './acknowledgements.ts'
import { BridgeConnection } from './connection.ts'
import type { ReceivedMessage } from './packet-reader.ts'

export interface BridgeOptions extends MqttConnection {
  /** Client id, which names the bridge's session: one process at a time may use it. */
  readonly clientId?: string
  readonly rules: readonly TopicRule[]
  /** Resolves when the message is durable; when it rejects it is called again. */
  invoke(functionName: string, event: Record<string, unknown>): Promise<void>
  /** The short way of telemetry that has one rule, beside {@link invoke}: it must do what that rule's function does. */
  readonly take?: TakeMessage
  readonly topics: TopicTree
  nextMessageId(): string
  /** Arrival time of a message, ms since the epoch. */
  arrival(): number
  /** Called for each message of this device. */
  onTraffic?(deviceId: number): void
  log(level: 'info' | 'warn' | 'error', msg: string, fields?: Record<string, unknown>): void
  /** Messages in progress; when there are as many, the bridge stops reading. 1–65535. */
  readonly maxInProgress?: number
  /** Bytes of payload in progress; when there are as many, the bridge stops reading, too. */
  readonly maxBytesInProgress?: number
  /** Pauses between tries, of a connection and of a message: the first and the longest, ms. */
  readonly retryMs?: { readonly first: number; readonly longest: number }
}

export interface Bridge {
  connected(): boolean
  /** Resolves when it is connected for the first time and has subscribed. */
  readonly ready: Promise<void>
  /** Stops reading, waits up to 3 s for messages in progress, acknowledges those, and disconnects. The session stays. */
  close(): Promise<void>
}

/** What the bridge knows about a topic. */
interface Route {
  readonly deviceId: number | undefined
  /** Mosquitto allows devices their own topics only, so the topic names the client. */
  readonly clientId: string
  /** A status stays retained at the broker; other messages do not. */
  readonly isStatus: boolean
  readonly telemetry: TelemetryTopic | undefined
  readonly rules: readonly TopicRule[]
}

const closeWaitMs = 3000
/** Topics whose routes are remembered: matching costs 0.75 µs a message, the look-up 0.03 µs. */
const rememberedTopics = 20_000

/** The filters of the rules. In MQTT `a/#` matches `a` too: a second subscription could deliver those messages twice. */
const subscriptionsFor = (rules: readonly TopicRule[]): string[] => {
  const filters = rules.map(({ filter }) => filter)
  return filters.filter((filter) => !filters.includes(`${filter}/#`))
}

export function startBridge(options: BridgeOptions): Bridge {
  return new MosquittoBridge(options)
}

class MosquittoBridge implements Bridge {
  readonly ready: Promise<void>
  private readonly options: BridgeOptions
  private readonly maxInProgress: number
  private readonly maxBytesInProgress: number
  private readonly retryMs: { readonly first: number; readonly longest: number }
  private readonly rules: readonly TopicRule[]
  private readonly routes = new LRUCache<string, Route>({ max: rememberedTopics })
  private readonly connection: BridgeConnection
  private readonly acknowledgements: Acknowledgements
  private readonly closing = new AbortController()
  private readonly telemetry: DirectTelemetry
  private inProgress = 0
  private bytesInProgress = 0
  private onIdle = () => {}

  constructor(options: BridgeOptions) {
    this.options = options
    this.telemetry = new DirectTelemetry(options.take)
    // While one batch of the intake is under way, the next one gathers. InfluxDB needs less for a line the more come at once.
    this.maxInProgress = options.maxInProgress ?? 10_000
    this.maxBytesInProgress = options.maxBytesInProgress ?? 2_000_000
    this.retryMs = options.retryMs ?? { first: 500, longest: 15_000 }
    // Only AWS IoT Core publishes on topics that begin with `$`.
    this.rules = options.rules.filter(({ filter }) => !filter.startsWith('$'))
    this.acknowledgements = new Acknowledgements((bytes) => this.connection.write(bytes), this.maxInProgress)
    let onSubscribed = () => {}
    this.ready = new Promise((resolve) => {
      onSubscribed = resolve
    })
    this.connection = new BridgeConnection({
      url: options.url,
      username: options.username,
      password: options.password,
      clientId: options.clientId ?? 'iotflow-bridge',
      filters: subscriptionsFor(this.rules),
      receiveMaximum: Math.min(this.maxInProgress, 65_535),
      retryMs: this.retryMs,
      onMessage: (message) => this.accept(message),
      onNewSession: () => this.acknowledgements.forgetSession(),
      onSubscribed,
      log: options.log,
    })
  }

  connected(): boolean {
    return this.connection.connected()
  }

  async close(): Promise<void> {
    this.closing.abort()
    this.connection.pause()
    if (this.inProgress > 0) {
      const idle = new Promise<void>((resolve) => {
        this.onIdle = resolve
      })
      await pTimeout(idle, { milliseconds: closeWaitMs, fallback: () => undefined })
    }
    this.acknowledgements.flush()
    this.connection.resume()
    // A new connection of this client id ends this one: what the broker has not read by then would be lost.
    await this.connection.flush()
    await this.connection.close()
  }

  private accept(received: ReceivedMessage): void {
    // The broker keeps it, for the next process.
    if (this.closing.signal.aborted) return
    const { topic, qos, id, payload } = received
    const { acknowledgements } = this
    const route = this.routeOf(topic)
    if (received.retain && !this.acceptRetained(topic, payload, route)) {
      if (qos > 0) acknowledgements.acknowledge(id)
      return
    }
    if (qos === 0) {
      this.store(route, received, undefined)
      return
    }
    const known = acknowledgements.begin(received)
    if (known !== undefined) this.store(route, received, known)
  }

  /** Clears a retained message at the broker. @returns false when it is no message for the rules. */
  private acceptRetained(topic: string, payload: Buffer, { isStatus }: Route): boolean {
    // Over MQTT 3.1.1 only old messages carry the flag: those that a new subscription brings.
    if (this.connection.version() === 4) return false
    if (isStatus) return true
    // An empty message clears a retained one: it is the device's, or the echo of the next line.
    if (payload.length === 0) return false
    // Mosquitto's rights cannot forbid to retain telemetry, and nobody else would remove it.
    this.connection.send({ cmd: 'publish', topic, payload: '', qos: 0, dup: false, retain: true })
    return true
  }

  private routeOf(topic: string): Route {
    let route = this.routes.get(topic)
    if (route === undefined) {
      const device = this.options.topics.parse(topic)
      route = {
        deviceId: device?.deviceId,
        clientId: device === undefined ? '' : String(device.deviceId),
        isStatus: device?.kind === 'status',
        telemetry: telemetryTopicOf(this.options.topics, topic),
        rules: this.rules.filter((rule) => rule.matches(topic)),
      }
      this.routes.set(topic, route)
    }
    return route
  }

  /** @param known by its packet id; undefined with QoS 0. */
  private store(
    route: Route,
    { topic, payload, correlationData }: ReceivedMessage,
    known: KnownMessage | undefined,
  ): void {
    const { clientId, deviceId, telemetry, rules } = route
    const message: RuleMessage = {
      topic,
      payload,
      clientId,
      receivedAt: this.options.arrival(),
      messageId: this.options.nextMessageId(),
      correlationData,
    }
    if (deviceId !== undefined) this.options.onTraffic?.(deviceId)
    const { length } = payload
    this.inProgress += 1
    this.bytesInProgress += length
    if (this.isFull) this.connection.pause()
    let callEnds: (() => void) | undefined
    const end = () => {
      callEnds?.()
      this.readOn(length)
    }
    const done = () => {
      if (known !== undefined) this.acknowledgements.complete(known)
      end()
    }
    const [only] = rules
    if (only === undefined || rules.length > 1) {
      void this.invokeAll(rules, message).then(done, end)
      return
    }
    const ended = (failure?: AppError) => {
      if (failure === undefined) {
        done()
        return
      }
      callEnds = this.telemetry.callBegins(telemetry)
      void this.retry(only, message, failure).then(done, end)
    }
    this.telemetry.handOver(telemetry, message, ended, () => {
      callEnds = this.telemetry.callBegins(telemetry)
      this.invoke(only, message, done, end)
    })
  }

  private get isFull(): boolean {
    const { inProgress, bytesInProgress } = this
    return inProgress >= this.maxInProgress || bytesInProgress >= this.maxBytesInProgress
  }

  private async invokeAll(rules: readonly TopicRule[], message: RuleMessage): Promise<void> {
    await Promise.all(
      rules.map(
        (rule) => new Promise<void>((resolve, reject) => this.invoke(rule, message, resolve, reject)),
      ),
    )
  }

  private invoke(rule: TopicRule, message: RuleMessage, done: () => void, gaveUp: () => void): void {
    const retry = (error: unknown) => this.retry(rule, message, error).then(done, gaveUp)
    try {
      this.options.invoke(rule.functionName, rule.event(message)).then(done, retry)
    } catch (error) {
      void retry(error)
    }
  }

  /** Calls the function until the message is durable. Rejects when the bridge closes before. */
  private async retry(rule: TopicRule, message: RuleMessage, first: unknown): Promise<void> {
    const { invoke, log } = this.options
    const onFailure = (error: unknown): never => {
      log('warn', 'mqtt message not stored yet', { topic: message.topic.slice(0, 200), error })
      // A plain Error, because p-retry gives up on a TypeError.
      throw new Error('not stored', { cause: error })
    }
    let isStored = false
    await pRetry(
      async (attempt) => {
        if (attempt === 1) onFailure(first)
        await invoke(rule.functionName, rule.event(message)).catch(onFailure)
        isStored = true
      },
      {
        retries: Number.POSITIVE_INFINITY,
        minTimeout: this.retryMs.first,
        maxTimeout: this.retryMs.longest,
        randomize: true,
        signal: this.closing.signal,
      },
    ).catch((error: unknown) => {
      // p-retry rejects when the bridge closes during an attempt that succeeds: the message is stored all the same.
      if (!isStored) throw error
    })
  }

  private readOn(bytes: number): void {
    this.inProgress -= 1
    this.bytesInProgress -= bytes
    const isLow = this.inProgress < this.maxInProgress * 0.8 && !this.isFull
    if (isLow && !this.closing.signal.aborted) this.connection.resume()
    if (this.inProgress === 0) this.onIdle()
  }
}
