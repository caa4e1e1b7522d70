/**
 * The way of a message from a client: the policy decides about it, the rules' functions store it, and only then it is
 * acknowledged, in the order of arrival.
 */
import type { AedesPublishPacket, Client } from 'aedes'
import pRetry from 'p-retry'
import { AppError } from '../../../lib/errors.ts'
import type { Policy } from '../../../lib/mqtt/policy.ts'
import { DirectTelemetry, type TelemetryTopic, telemetryTopicOf } from '../direct-telemetry.ts'
import type { RuleMessage, TopicRule } from '../rules.ts'
import type { Connection } from './connection.ts'
import type { ConnectionTable } from './connection-table.ts'
import type { FlowControl, Throttle } from './flow-control.ts'
import type { Handshakes } from './handshakes.ts'
import { type BrokerLimits, type BrokerOptions, reasonCodes } from './options.ts'

type AuthorizePublishCallback = (error?: Error | null) => void

/** What a connection may do with a topic, and which rules match it. */
export interface PublishDecision {
  readonly publish: boolean
  readonly retain: boolean
  readonly rules: readonly TopicRule[]
  readonly telemetry: TelemetryTopic | undefined
}

/** A message in progress. Those of a connection end in the order of arrival, as their PUBACKs must (MQTT-4.6.0-2). */
export interface PendingMessage {
  readonly connection: Connection
  readonly isWill: boolean
  done: boolean
  error: Error | undefined
  /** Time at which its functions were called, ms since the epoch. */
  invokedAt: number
  /** Continues in aedes, which sends the acknowledgement. */
  readonly callback: AuthorizePublishCallback
}

/** Called once: when the message is durable, or with why it is not. */
type Ended = (failure?: unknown) => void

/** How a message came. */
interface Origin {
  /** Flow control has counted it already. */
  readonly counted: boolean
  readonly isWill: boolean
}

export interface PublishingOptions {
  readonly broker: Pick<
    BrokerOptions,
    'rules' | 'invoke' | 'take' | 'topics' | 'nextMessageId' | 'arrival' | 'log'
  >
  readonly limits: Pick<BrokerLimits, 'maxPayloadBytes' | 'invokeTimeoutMs' | 'unavailableRetryMs'>
  readonly connections: ConnectionTable
  readonly flowControl: FlowControl
  readonly throttle: Throttle
  readonly handshakes: Handshakes
  readonly closing: AbortSignal
}

interface Refusal {
  readonly reason: string
  /** For an MQTT 5 client. */
  readonly code: number
}

type Properties = NonNullable<AedesPublishPacket['properties']> & { readonly willDelayInterval?: number }

const omitDelay = ({ willDelayInterval: _delay, ...properties }: Properties) => properties

const notAuthenticated: Refusal = { reason: 'it is not authenticated', code: reasonCodes.notAuthorized }

const failedWith =
  (ended: Ended) =>
  (error: unknown): void =>
    ended(error ?? new Error('rejected'))

const settle = (stored: Promise<unknown>, ended: Ended): void => {
  stored.then(() => ended(), failedWith(ended))
}

const isUnavailable = (error: unknown): boolean => error instanceof AppError && error.code === 'UNAVAILABLE'

export class Publishing {
  private readonly options: PublishingOptions
  /** Messages that functions are storing, oldest first. */
  private readonly invoked = new Set<PendingMessage>()
  private readonly telemetry: DirectTelemetry
  /** Messages that have come out of the parser and are not acknowledged. */
  private inProgressCount = 0

  constructor(options: PublishingOptions) {
    this.options = options
    this.telemetry = new DirectTelemetry(options.broker.take)
  }

  inProgress(): number {
    return this.inProgressCount
  }

  /**
   * aedes' `authorizePublish`: the callback comes when the message is durable, because aedes then sends the PUBACK or PUBREC.
   * After an error it does not come: aedes would acknowledge the message to an MQTT 5 client, which would not send it again.
   */
  authorizePublish(client: Client | null, published: unknown, callback: AuthorizePublishCallback): void {
    const { connections, throttle } = this.options
    const packet = published as AedesPublishPacket
    const connection = connections.of(client)
    if (connection === undefined) {
      callback(new Error('unknown client'))
      return
    }
    const isWill = connection.connect?.will === published
    // The delay is over, and is no property of a message.
    if (isWill && packet.properties) packet.properties = omitDelay(packet.properties)
    // Flow control has not counted a will, and has given back the places of a connection that is gone.
    const counted = !isWill && connection.released > 0
    if (counted) connection.released--
    // aedes has sent a DISCONNECT, and would acknowledge the messages behind its cause until the connection is closed.
    if (connection.client.disconnectReasonCode !== null && !isWill) {
      if (counted) this.options.flowControl.leave(1)
      return
    }
    const decision = connection.publishDecision(packet.topic, this.decide)
    const refusal = this.refusalOf(packet, decision, isWill)
    if (refusal !== undefined || decision === undefined) {
      if (counted) this.options.flowControl.leave(1)
      this.refuse(connection, packet, refusal ?? notAuthenticated)
      if (isWill) callback(new Error('refused'))
      return
    }
    const message: PendingMessage = {
      connection,
      isWill,
      done: false,
      error: undefined,
      invokedAt: 0,
      callback,
    }
    connection.pending.push(message)
    this.inProgressCount++
    if (counted && decision.rules.length === 0 && !throttle.enabled) {
      this.finish(message)
      return
    }
    const origin = { counted, isWill }
    const ended: Ended = (failure) => this.finish(message, failure)
    if (packet.qos === 2 && !isWill) settle(this.processOnce(message, packet, decision, origin), ended)
    else this.process(message, packet, decision, origin, ended)
  }

  /** Gives up messages whose functions have not answered in time. */
  expireStalled(now: number): void {
    for (const message of this.invoked) {
      if (now - message.invokedAt < this.options.limits.invokeTimeoutMs) break
      this.finish(message, new Error('its functions did not answer in time'))
    }
  }

  private readonly decide = (policy: Policy, topic: string): PublishDecision => {
    const { rules, topics } = this.options.broker
    return {
      publish: policy.publish(topic),
      retain: policy.retain(topic),
      rules: rules.filter((rule) => rule.matches(topic)),
      telemetry: telemetryTopicOf(topics, topic),
    }
  }

  /** Why this message is refused; undefined when it is accepted. */
  private refusalOf(
    packet: AedesPublishPacket,
    decision: PublishDecision | undefined,
    isWill: boolean,
  ): Refusal | undefined {
    if (decision === undefined) return notAuthenticated
    const refused = (reason: string, code: number): Refusal => ({ reason, code })
    if (isWill && this.options.closing.aborted)
      return refused('the broker is closing', reasonCodes.shuttingDown)
    // MQTT-2.3.1-1 forbids packet id 0. A will has no packet id yet.
    if (packet.qos > 0 && packet.messageId !== undefined && packet.messageId < 1)
      return refused('it has no packet id', reasonCodes.protocolError)
    if (packet.payload.length > this.options.limits.maxPayloadBytes)
      return refused('the payload is too large', reasonCodes.packetTooLarge)
    if (!decision.publish) return refused('it may not publish to this topic', reasonCodes.notAuthorized)
    if (packet.retain && !decision.retain)
      return refused('it may not retain on this topic', reasonCodes.notAuthorized)
    return undefined
  }

  private refuse(connection: Connection, packet: AedesPublishPacket, { reason, code }: Refusal): void {
    this.options.broker.log('warn', 'mqtt message refused', {
      connection: connection.id,
      device: connection.principalId,
      topic: packet.topic.slice(0, 200),
      reason,
    })
    void connection.close(code)
  }

  /** Stores a QoS 2 message once, also when it is sent again before its handshake has ended. */
  private async processOnce(
    pending: PendingMessage,
    packet: AedesPublishPacket,
    decision: PublishDecision,
    origin: Origin,
  ): Promise<void> {
    const { flowControl, handshakes } = this.options
    const clientId = pending.connection.client.id
    const packetId = packet.messageId as number
    const earlier = handshakes.earlier(clientId, packetId)
    if (earlier === undefined) {
      const processed = new Promise<void>((resolve, reject) => {
        this.process(pending, packet, decision, origin, (failure) =>
          failure === undefined ? resolve() : reject(failure),
        )
      })
      await handshakes.begin(clientId, packetId, processed)
      return
    }
    if (!origin.counted) await flowControl.enter()
    await earlier
  }

  /** Hands a message to its functions: at once when nothing holds it back, as almost always. */
  private process(
    pending: PendingMessage,
    packet: AedesPublishPacket,
    decision: PublishDecision,
    origin: Origin,
    ended: Ended,
  ): void {
    const { broker, throttle } = this.options
    const { connection } = pending
    const message: RuleMessage = {
      topic: packet.topic,
      payload: packet.payload as Buffer,
      clientId: connection.client.id,
      receivedAt: broker.arrival?.() ?? Date.now(),
      messageId: broker.nextMessageId(),
      correlationData: packet.properties?.correlationData,
    }
    const waitMs = origin.counted ? throttle.waitMs(connection.principalId) : undefined
    if (waitMs === 0) this.handOver(pending, decision, message, ended)
    else void this.handOverLater(pending, decision, message, origin, waitMs, ended).catch(failedWith(ended))
  }

  /** Waits until flow control and the throttle let the message pass. */
  private async handOverLater(
    pending: PendingMessage,
    decision: PublishDecision,
    message: RuleMessage,
    { counted, isWill }: Origin,
    asked: number | Promise<number> | undefined,
    ended: Ended,
  ): Promise<void> {
    const { closing, flowControl, throttle } = this.options
    const { principalId } = pending.connection
    if (!counted) await flowControl.enter()
    // A will is never held back: its sender is gone and cannot be slowed down.
    const waitMs = isWill ? 0 : await (asked ?? throttle.waitMs(principalId))
    if (waitMs === 0 || closing.aborted) {
      this.handOver(pending, decision, message, ended)
      return
    }
    const leaveQueue = await throttle.holdBack(principalId, waitMs)
    this.handOver(pending, decision, message, ended)
    leaveQueue()
  }

  private handOver(
    pending: PendingMessage,
    decision: PublishDecision,
    message: RuleMessage,
    ended: Ended,
  ): void {
    pending.invokedAt = Date.now()
    this.invoked.add(pending)
    const { rules } = decision
    const [only] = rules
    if (only === undefined || rules.length > 1) {
      this.trackCall(decision, Promise.all(rules.map((rule) => this.invoke(rule, message))), ended)
      return
    }
    // That a device was seen is noted for each packet. A will is none: only its function notes it.
    const telemetry = pending.isWill ? undefined : decision.telemetry
    const takenEnds = (failure?: AppError) => {
      if (failure === undefined) ended()
      else this.trackCall(decision, this.retryWhileUnavailable(only, message, failure), ended)
    }
    this.telemetry.handOver(telemetry, message, takenEnds, () =>
      this.trackCall(decision, this.invoke(only, message), ended),
    )
  }

  /** Keeps later messages of the device behind a call of the function until it ends. */
  private trackCall({ telemetry }: PublishDecision, stored: Promise<unknown>, ended: Ended): void {
    const callEnds = this.telemetry.callBegins(telemetry)
    settle(stored, (failure) => {
      callEnds()
      ended(failure)
    })
  }

  private invoke(rule: TopicRule, message: RuleMessage): Promise<void> {
    const failed = (error: unknown) => this.retryWhileUnavailable(rule, message, error)
    try {
      return this.options.broker.invoke(rule.functionName, rule.event(message)).catch(failed)
    } catch (error) {
      return failed(error)
    }
  }

  /** Retries while the stores are unavailable: the sender is slowed down, and is disconnected only when that lasts. */
  private async retryWhileUnavailable(rule: TopicRule, message: RuleMessage, first: unknown): Promise<void> {
    const { broker, closing, limits } = this.options
    let isStored = false
    await pRetry(
      async (attempt) => {
        if (attempt === 1) throw first
        await broker.invoke(rule.functionName, rule.event(message))
        isStored = true
      },
      {
        retries: Number.POSITIVE_INFINITY,
        minTimeout: 25,
        maxTimeout: 800,
        randomize: true,
        maxRetryTime: limits.unavailableRetryMs,
        shouldRetry: ({ error }) => isUnavailable(error),
        signal: closing,
      },
    ).catch((error: unknown) => {
      // p-retry rejects when the broker closes during an attempt that succeeds: the message is stored all the same.
      if (!isStored) throw error
    })
  }

  private finish(message: PendingMessage, error?: unknown): void {
    if (message.done) return
    const { connection } = message
    this.invoked.delete(message)
    message.done = true
    if (error !== undefined) {
      message.error = new Error('the message could not be stored')
      this.options.broker.log('warn', 'mqtt message not stored', {
        connection: connection.id,
        device: connection.principalId,
        error,
      })
    }
    this.acknowledgeInOrder(connection)
  }

  private acknowledgeInOrder(connection: Connection): void {
    const { pending } = connection
    let ended = 0
    while (pending[0]?.done) {
      const message = pending.shift() as PendingMessage
      ended++
      this.inProgressCount--
      if (message.error === undefined || message.isWill) message.callback(message.error ?? null)
      else void connection.close(reasonCodes.serverBusy)
    }
    this.options.flowControl.leave(ended)
    connection.requestTurn()
  }
}
