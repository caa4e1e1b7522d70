/**
 * MQTT of `npm start` and `npm run dev`: the embedded broker, or the bridge to a Mosquitto from the process that is the leader.
 * In both cases the functions reach the broker through the local data plane.
 */
import type { Config } from '../../lib/config.ts'
import type { Log } from '../../lib/log.ts'
import type { AuthorizerEvent, AuthorizerResult } from '../../lib/mqtt/authorizer.ts'
import type { TopicTree } from '../../lib/mqtt/topics.ts'
import type { Leases } from '../../lib/registry/leases.ts'
import { nextRequestId } from '../../lib/request-id.ts'
import type { TakeMessage } from '../../lib/telemetry/delivery.ts'
import { type DataPlane, openDataPlane } from './data-plane.ts'
import { startBroker } from './embedded/broker.ts'
import type { Broker, BrokerLimits } from './embedded/options.ts'
import { startBridge } from './mosquitto/bridge.ts'
import { connectMosquitto, type Mosquitto } from './mosquitto/client.ts'
import { type Leader, startLeader } from './mosquitto/leader.ts'
import type { TopicRule } from './rules.ts'

type Ports = Pick<Config['ports'], 'mqtt' | 'mqttWs' | 'mqttTls'>

export interface GatewayOptions extends Pick<Config, 'mqtt'> {
  readonly host: string
  readonly ports: Ports
  /** PEM; without it there is no MQTT over TLS. */
  readonly tls?: { readonly cert: Buffer; readonly key: Buffer } | undefined
}

/** Services that both brokers use. */
export interface GatewayServices {
  readonly rules: readonly TopicRule[]
  readonly topics: TopicTree
  /** Resolves when the message is durable. */
  invoke(functionName: string, event: Record<string, unknown>): Promise<void>
  /** The short way of telemetry. */
  readonly take?: TakeMessage
  /** Arrival time of a message, ms since the epoch. */
  arrival(): number
  /** Called for each message, and by the embedded broker for each packet. */
  onTraffic?(deviceId: number): void
  readonly log: Log
}

export interface EmbeddedServices {
  authorize(event: AuthorizerEvent): Promise<AuthorizerResult>
  /** See `BrokerOptions.throttle`. */
  throttle?(deviceId: number): number | Promise<number>
  readonly limits?: Partial<BrokerLimits>
  /** Called when a client has confirmed that it has a command. */
  onCommandReceived(deviceId: number, commandId: string): void
  /** Marks every device as not connected. Called before the broker starts. */
  resetPresence(): Promise<unknown>
  /** Publishes the retained configurations. Called when the broker has started, because it keeps them in memory only. */
  republish(): Promise<unknown>
}

export interface MosquittoServices {
  readonly leases: Leases
  /** Makes the accounts at the broker equal to the registry. */
  reconcileAccounts(): Promise<unknown>
}

export type GatewayKind = 'embedded' | 'mosquitto' | 'none'

const kindOf = ({ mqtt, ports, tls }: GatewayOptions): GatewayKind => {
  if (typeof mqtt === 'object') return 'mosquitto'
  const hasPort =
    ports.mqtt !== undefined ||
    ports.mqttWs !== undefined ||
    (tls !== undefined && ports.mqttTls !== undefined)
  return mqtt === undefined && hasPort ? 'embedded' : 'none'
}

const logTo =
  (log: Log) => (level: 'debug' | 'info' | 'warn' | 'error', msg: string, fields?: Record<string, unknown>) =>
    log[level](msg, fields)

/** Opens the data plane. Messages flow when `startBroker` or `startBridge` is called, by the kind of the gateway. */
export async function openGateway(options: GatewayOptions): Promise<MqttGateway> {
  const kind = kindOf(options)
  const mosquitto = typeof options.mqtt === 'object' ? connectMosquitto(options.mqtt) : undefined
  const gateway = new MqttGateway(options, kind, mosquitto)
  if (kind !== 'none') await gateway.openDataPlane()
  return gateway
}

export class MqttGateway {
  readonly kind: GatewayKind
  private readonly options: GatewayOptions
  private readonly mosquitto: Mosquitto | undefined
  private plane: DataPlane | undefined
  private broker: Broker | undefined
  private leader: Leader | undefined

  constructor(options: GatewayOptions, kind: GatewayKind, mosquitto: Mosquitto | undefined) {
    this.options = options
    this.kind = kind
    this.mosquitto = mosquitto
  }

  /** Where the functions reach the broker; undefined when there is none. */
  get iot(): Config['iot'] {
    if (this.plane === undefined) return undefined
    const { credentials, endpoint, region } = this.plane
    return { endpoint, region, credentials }
  }

  /** Ports of the embedded broker; undefined until it is started. */
  get ports(): Ports {
    const { port, wsPort, tlsPort } = this.broker ?? {}
    return { mqtt: port, mqttWs: wsPort, mqttTls: tlsPort }
  }

  /** Clients of the embedded broker; undefined where another broker has them. */
  get connections(): number | undefined {
    return this.broker?.connected()
  }

  /** See `Broker.clientsOf`; undefined where another broker has the clients. */
  clientsOf(deviceId: number): ReadonlyMap<string, boolean> | undefined {
    return this.broker?.clientsOf(String(deviceId))
  }

  async openDataPlane(): Promise<void> {
    this.plane = await openDataPlane(() => this.mosquitto ?? this.broker)
  }

  /** Starts the embedded broker. @throws {Error} one sentence when a port is taken or the certificate cannot be used. */
  async startBroker(services: GatewayServices, embedded: EmbeddedServices): Promise<void> {
    const { host, ports, tls } = this.options
    const { onTraffic, take, topics } = services
    const { throttle } = embedded
    await embedded.resetPresence()
    this.broker = await startBroker({
      host,
      port: ports.mqtt ?? 'none',
      wsPort: ports.mqttWs ?? 'none',
      ...(tls && ports.mqttTls !== undefined ? { tls: { port: ports.mqttTls, ...tls } } : {}),
      rules: services.rules,
      nextMessageId: nextRequestId,
      arrival: services.arrival,
      authorize: embedded.authorize,
      onCommandReceived: embedded.onCommandReceived,
      invoke: services.invoke,
      topics,
      ...(take ? { take } : {}),
      ...(throttle ? { throttle: (principalId) => throttle(Number(principalId)) } : {}),
      ...(onTraffic ? { onTraffic: (principalId) => onTraffic(Number(principalId)) } : {}),
      log: logTo(services.log),
      limits: embedded.limits ?? {},
    })
    await embedded.republish()
  }

  /** Starts the bridge, in this process or in the one that has the lease. */
  startBridge({ log, ...services }: GatewayServices, { leases, reconcileAccounts }: MosquittoServices): void {
    const { mqtt } = this.options
    if (typeof mqtt !== 'object') throw new Error('MQTT_URL names no broker.')
    const bridge = { ...mqtt, ...services, nextMessageId: nextRequestId, log: logTo(log) }
    this.leader = startLeader({ leases, open: () => startBridge(bridge), reconcile: reconcileAccounts, log })
  }

  /** Sends commands to the plugin of Mosquitto; rejects when it did not carry them out. */
  async sendCommands(commands: readonly object[]): Promise<void> {
    if (this.mosquitto === undefined) throw new Error('There is no Mosquitto.')
    await this.mosquitto.sendCommands(commands)
  }

  /** Accepts no more messages, and finishes those in progress. The data plane stays open. */
  async stopMessages(): Promise<void> {
    await Promise.all([this.leader?.close(), this.broker?.close()])
  }

  /** Closes what `openGateway` has opened. */
  async close(): Promise<void> {
    await this.plane?.close()
    await this.mosquitto?.close()
  }
}
