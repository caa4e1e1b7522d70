/** The bridge's connection to a Mosquitto: MQTT 5, or 3.1.1 where the broker knows nothing else. It reconnects by itself. */
import { connect as connectTcp, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import mqttPacket, { type IConnackPacket, type ISubackPacket, type Packet } from 'mqtt-packet'
import pRetry from 'p-retry'
import pTimeout from 'p-timeout'
import { createWebSocketStream, WebSocket } from 'ws'
import type { MqttConnection } from '../../../lib/config.ts'
import { PacketReader, type ReceivedMessage } from './packet-reader.ts'

export interface ConnectionOptions extends MqttConnection {
  readonly clientId: string
  readonly filters: readonly string[]
  /** Messages that the broker may send before the first of them is acknowledged, 1–65535. */
  readonly receiveMaximum: number
  /** Pauses between two tries to connect: the first and the longest, ms. */
  readonly retryMs: { readonly first: number; readonly longest: number }
  onMessage(message: ReceivedMessage): void
  /** The broker has no session of this client: it forgot all packet ids. */
  onNewSession(): void
  /** Called each time when the broker has accepted the subscriptions. */
  onSubscribed(): void
  log(level: 'info' | 'warn', msg: string, fields?: Record<string, unknown>): void
}

const keepAliveS = 30
const connectTimeoutMs = 10_000
const pingTimeoutMs = 1000
/** MQTT 5: the session never expires. Mosquitto's own settings may end it earlier. */
const neverExpires = 0xffffffff
/** CONNACK codes "unacceptable protocol version": of MQTT 5, and of 3.1.1 brokers. */
const versionRefused: readonly number[] = [0x84, 1]

const defaultPorts: Record<string, number> = { 'mqtt:': 1883, 'mqtts:': 8883 }

const openStream = (address: string): Duplex => {
  const url = new URL(address)
  if (url.protocol.startsWith('ws'))
    return createWebSocketStream(new WebSocket(url, ['mqtt'], { handshakeTimeout: connectTimeoutMs }))
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const port = Number(url.port || defaultPorts[url.protocol])
  if (url.protocol === 'mqtts:') return connectTls({ host, port, servername: host })
  return connectTcp({ host, port }).setNoDelay(true)
}

const codeOf = (error: unknown): string => String((error as { code?: unknown }).code ?? 'UNKNOWN')

/** One attempt to connect, and the connection that it becomes. */
class Attempt {
  readonly stream: Duplex
  /** Resolves when the connection has ended. */
  readonly ended: Promise<void>
  readonly version: 4 | 5
  connected = false
  /** The broker has accepted the connection at some time. */
  wasConnected = false
  /** Why it ended. */
  reason = 'closed'
  /** CONNACK code of a refusal. */
  refusedWith: number | undefined
  onPong = () => {}
  private readonly options: ConnectionOptions
  private readonly connectTimer: NodeJS.Timeout
  private readonly pingTimer: NodeJS.Timeout
  private heardAt = performance.now()

  constructor(options: ConnectionOptions, version: 4 | 5) {
    this.options = options
    this.version = version
    const stream = openStream(options.url)
    this.stream = stream
    const reader = new PacketReader(version, {
      onMessage: (message) => options.onMessage(message),
      onPacket: (packet) => this.onPacket(packet),
      onError: () => this.fail('MALFORMED_PACKET'),
    })
    stream.on('data', (chunk: Buffer) => {
      this.heardAt = performance.now()
      reader.read(chunk)
    })
    stream.on('error', (error) => {
      this.reason = codeOf(error)
    })
    this.connectTimer = setTimeout(() => this.fail('TIMEOUT'), connectTimeoutMs)
    // Pings after half of the keep-alive, and gives up after one and a half (`* 1500` in `keepAlive`).
    this.pingTimer = setInterval(() => this.keepAlive(), keepAliveS * 500)
    this.ended = new Promise((resolve) => stream.once('close', () => resolve(this.onEnd())))
    const isTls = options.url.startsWith('mqtts:')
    if ((stream as Partial<Socket>).connecting)
      stream.once(isTls ? 'secureConnect' : 'connect', () => this.sendConnect())
    else this.sendConnect()
  }

  send(packet: Packet): void {
    if (!this.stream.destroyed)
      this.stream.write(mqttPacket.generate(packet, { protocolVersion: this.version }))
  }

  fail(reason: string): void {
    this.reason = reason
    this.stream.destroy()
  }

  private onEnd(): void {
    clearTimeout(this.connectTimer)
    clearInterval(this.pingTimer)
    this.connected = false
  }

  private keepAlive(): void {
    if (performance.now() - this.heardAt > keepAliveS * 1500) this.fail('TIMEOUT')
    else if (this.connected) this.send({ cmd: 'pingreq' })
  }

  private sendConnect(): void {
    const { clientId, password, receiveMaximum, username } = this.options
    const properties = { sessionExpiryInterval: neverExpires, receiveMaximum }
    this.send({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: this.version,
      clean: false,
      clientId,
      keepalive: keepAliveS,
      username,
      password: Buffer.from(password),
      ...(this.version === 5 ? { properties } : {}),
    } as Packet)
  }

  private onPacket(packet: Packet): void {
    switch (packet.cmd) {
      case 'connack':
        this.onConnack(packet)
        break
      case 'suback':
        this.onSuback(packet)
        break
      case 'pingresp':
        this.onPong()
        break
      case 'disconnect':
        this.fail(`DISCONNECTED_${packet.reasonCode ?? 0}`)
        break
    }
  }

  private onConnack({ reasonCode, returnCode, sessionPresent }: IConnackPacket): void {
    const code = reasonCode ?? returnCode ?? 0
    if (code !== 0) {
      this.refusedWith = code
      this.fail(`REFUSED_${code}`)
      return
    }
    clearTimeout(this.connectTimer)
    if (!sessionPresent) this.options.onNewSession()
    this.wasConnected = true
    this.connected = true
    const subscriptions = this.options.filters.map((topic) => ({
      ...{ topic, qos: 1 as const },
      // MQTT 5: send no retained messages, and keep the retain flag, so that retained telemetry can be cleared.
      ...{ rh: 2, rap: true, nl: false },
    }))
    this.send({ cmd: 'subscribe', messageId: 1, subscriptions })
  }

  private onSuback({ granted }: ISubackPacket): void {
    if (granted.some((code) => Number(code) >= 0x80)) {
      this.fail('SUBSCRIPTION_REFUSED')
      return
    }
    const version = this.version === 5 ? '5' : '3.1.1'
    this.options.log('info', 'connected to the broker', { mqtt_version: version })
    this.options.onSubscribed()
  }
}

export class BridgeConnection {
  private readonly options: ConnectionOptions
  private readonly closing = new AbortController()
  private readonly running: Promise<void>
  private attempt: Attempt | undefined
  private protocolVersion: 4 | 5 = 5
  /** Reason that was logged last; each reason is logged once until the broker accepts a connection again. */
  private loggedReason: string | undefined

  constructor(options: ConnectionOptions) {
    this.options = options
    this.running = this.run()
  }

  connected(): boolean {
    return this.attempt?.connected === true
  }

  /** MQTT 5, or 4 for 3.1.1. */
  version(): 4 | 5 {
    return this.protocolVersion
  }

  send(packet: Packet): void {
    this.attempt?.send(packet)
  }

  /** Writes bytes of whole packets. @returns false when nothing is connected. */
  write(bytes: Buffer): boolean {
    const { attempt } = this
    if (attempt === undefined || !attempt.connected || attempt.stream.destroyed) return false
    attempt.stream.write(bytes)
    return true
  }

  pause(): void {
    this.attempt?.stream.pause()
  }

  resume(): void {
    const stream = this.attempt?.stream
    if (stream?.isPaused()) stream.resume()
  }

  /** Resolves when the broker has read all that was written before, or after 1 s. */
  async flush(): Promise<void> {
    const { attempt } = this
    if (attempt === undefined || !attempt.connected) return
    const pong = new Promise<void>((resolve) => {
      attempt.onPong = resolve
    })
    attempt.send({ cmd: 'pingreq' })
    await pTimeout(pong, { milliseconds: pingTimeoutMs, fallback: () => undefined })
  }

  /** Ends the connection and does not reconnect. The session stays at the broker. */
  async close(): Promise<void> {
    const { attempt } = this
    this.closing.abort()
    if (attempt?.connected) attempt.send({ cmd: 'disconnect' })
    attempt?.stream.end()
    setTimeout(() => attempt?.stream.destroy(), 200).unref()
    await pTimeout(this.running, { milliseconds: 500, fallback: () => undefined })
  }

  private async run(): Promise<void> {
    const { first, longest } = this.options.retryMs
    const { signal } = this.closing
    while (!signal.aborted) {
      await pRetry(() => this.connectOnce(), {
        retries: Number.POSITIVE_INFINITY,
        minTimeout: first,
        maxTimeout: longest,
        randomize: true,
        signal,
      }).catch(() => undefined)
      await sleep(first, undefined, { signal }).catch(() => undefined)
    }
  }

  /** Resolves when a connection that the broker had accepted has ended. @throws {Error} when it was not accepted. */
  private async connectOnce(): Promise<void> {
    let attempt: Attempt
    try {
      attempt = new Attempt(this.options, this.protocolVersion)
    } catch (error) {
      return this.notConnected(codeOf(error))
    }
    this.attempt = attempt
    await attempt.ended
    if (attempt.wasConnected) this.loggedReason = undefined
    if (attempt.refusedWith !== undefined && versionRefused.includes(attempt.refusedWith))
      this.protocolVersion = 4
    if (attempt.wasConnected) this.logOnce(attempt.reason)
    else this.notConnected(attempt.reason)
  }

  private notConnected(reason: string): never {
    this.logOnce(reason)
    throw new Error(reason)
  }

  private logOnce(reason: string): void {
    if (this.closing.signal.aborted || this.loggedReason === reason) return
    this.loggedReason = reason
    this.options.log('warn', 'not connected to the broker, retrying', { reason })
  }
}
