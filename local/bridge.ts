/**
 * From a Mosquitto to the functions of the rules. The broker gets its PUBACK when the message is durable here, so that what it
 * has not been acknowledged comes again, over a persistent session, to this process or the next one.
 */
import { createHash } from 'node:crypto'
import { connect as connectTcp, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import mqttPacket, { type IConnackPacket, type IPublishPacket, type Packet } from 'mqtt-packet'
import { createWebSocketStream, WebSocket } from 'ws'
import type { MqttConnection } from '../lib/config.ts'
import { parseDeviceTopic } from '../lib/mqtt/topics.ts'
import type { Rule } from './rules.ts'

export interface BridgeOptions extends MqttConnection {
  /** The session of this id is the bridge's: one process at a time. */
  readonly clientId?: string
  readonly rules: readonly Rule[]
  /** Resolves when the message is durable; when it rejects it is tried again. */
  invoke(functionName: string, event: Record<string, unknown>): Promise<void>
  nextMessageId(): string
  /** When a message arrives, ms since the epoch. */
  arrival(): number
  /** A message of this device has come. */
  onTraffic?(deviceId: number): void
  log(level: 'info' | 'warn' | 'error', msg: string, fields?: Record<string, unknown>): void
  /** Messages under way; beyond it nothing more is read. 1–65535. */
  readonly maxHeld?: number
  /** Pauses between tries, of a connection and of a message: the first and the longest, ms. */
  readonly retryMs?: { readonly first: number; readonly longest: number }
}

export interface Bridge {
  connected(): boolean
  /** Resolves when it is connected for the first time and has subscribed. */
  readonly ready: Promise<void>
  /** Reads nothing more, waits up to 3 s for what is under way, acknowledges that, and ends. The session stays. */
  close(): Promise<void>
}

const keepAliveS = 30
const connectMs = 10_000
const closeMs = 3000
/** Session and subscription stay at the broker while nobody is connected, as long as its own settings let them. */
const forEver = 0xffffffff

const answerMs = 1000

/** Resolves when it is told to, or after so many ms. */
const within = (ms: number, wait: (resolve: () => void) => void) =>
  new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, ms)
    wait(() => {
      clearTimeout(timer)
      resolve()
    })
  })

/** A message whose PUBACK is held. */
interface Held {
  readonly digest: string
  /** It is durable; the acknowledgement may have got lost with a connection. */
  done: boolean
}

const digestOf = (topic: string, payload: Buffer): string =>
  createHash('sha256').update(`${topic}\0`).update(payload).digest('base64')

const portOf: Record<string, number> = { 'mqtt:': 1883, 'mqtts:': 8883 }

const openStream = (address: string): Duplex => {
  const url = new URL(address)
  if (url.protocol.startsWith('ws')) {
    const socket = new WebSocket(url, ['mqtt'], { handshakeTimeout: connectMs })
    return createWebSocketStream(socket)
  }
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const port = Number(url.port || portOf[url.protocol])
  if (url.protocol === 'mqtts:') return connectTls({ host, port, servername: host })
  return connectTcp({ host, port }).setNoDelay(true)
}

const codeOf = (error: unknown): string => String((error as { code?: unknown }).code ?? 'UNKNOWN')

export function startBridge(options: BridgeOptions): Bridge {
  const { url, username, password, clientId = 'iotflow-bridge', log, maxHeld = 2000 } = options
  const { first, longest } = options.retryMs ?? { first: 500, longest: 15_000 }
  // What the broker itself tells on AWS has no source here.
  const rules = options.rules.filter(({ filter }) => !filter.startsWith('$'))

  let version: 4 | 5 = 5
  let stream: Duplex | undefined
  let connected = false
  let closing = false
  let underWay = 0
  /** By packet id. They outlive the connection: the broker sends again what it has no PUBACK of. */
  const held = new Map<number, Held>()
  /**
   * Digests of what was acknowledged last, by packet id. The broker has no more than `maxHeld` under way, so that no other
   * acknowledgement can have got lost with the connection.
   */
  const acknowledged = new Map<number, string>()
  let idle: (() => void) | undefined
  let heard: (() => void) | undefined
  let onReady = () => {}
  const ready = new Promise<void>((resolve) => {
    onReady = resolve
  })

  const send = (packet: Packet) => {
    if (stream && !stream.destroyed) stream.write(mqttPacket.generate(packet, { protocolVersion: version }))
  }

  // The acknowledgements of one turn go in one piece.
  let acks: number[] = []
  const sendAcks = () => {
    const ids = acks
    acks = []
    if (!connected || stream === undefined || stream.destroyed) return
    const bytes = Buffer.alloc(ids.length * 4)
    for (const [at, id] of ids.entries()) {
      bytes.writeUInt16BE(0x4002, at * 4)
      bytes.writeUInt16BE(id, at * 4 + 2)
      const digest = held.get(id)?.digest
      held.delete(id)
      if (digest === undefined) continue
      acknowledged.delete(id)
      acknowledged.set(id, digest)
      const [oldest = 0] = acknowledged.keys()
      if (acknowledged.size > maxHeld) acknowledged.delete(oldest)
    }
    stream.write(bytes)
  }
  const acknowledge = (id: number) => {
    if (acks.length === 0) setImmediate(sendAcks)
    acks.push(id)
  }

  const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms * (0.5 + Math.random() / 2)))

  /** Resolves to true when every rule's function has taken it, to false when the bridge ends before. */
  const handle = async (topic: string, payload: Buffer): Promise<boolean> => {
    const deviceId = parseDeviceTopic(topic)?.deviceId
    const message = {
      topic,
      payload,
      // The broker lets each device publish to its own topics only.
      clientId: deviceId === undefined ? '' : String(deviceId),
      receivedAt: options.arrival(),
      messageId: options.nextMessageId(),
    }
    let left = rules.filter((rule) => rule.matches(topic))
    if (deviceId !== undefined) options.onTraffic?.(deviceId)
    for (let waitMs = first; ; waitMs = Math.min(waitMs * 2, longest)) {
      const tried = await Promise.allSettled(
        left.map((rule) => options.invoke(rule.functionName, rule.event(message))),
      )
      left = left.filter((_, at) => tried[at]?.status === 'rejected')
      if (left.length === 0) return true
      const [failure] = tried.filter((one) => one.status === 'rejected')
      log('warn', 'mqtt message not stored yet', { topic: topic.slice(0, 200), error: failure?.reason })
      if (closing) return false
      await pause(waitMs)
    }
  }

  const readOn = () => {
    if (underWay < maxHeld * 0.8 && stream?.isPaused() && !closing) stream.resume()
    if (underWay === 0) idle?.()
  }

  const take = (packet: IPublishPacket) => {
    // It is not acknowledged, and comes to whoever is next.
    if (closing) return
    const { topic, qos, messageId: id = 0 } = packet
    const payload = Buffer.from(packet.payload as Buffer)
    if (packet.retain && version === 5 && parseDeviceTopic(topic)?.kind !== 'status') {
      // An empty one keeps nothing and is no message: the device's, or the answer to what it retained.
      if (payload.length === 0) {
        if (qos > 0) acknowledge(id)
        return
      }
      // The broker's rights cannot forbid it, and nobody else would ever remove it.
      send({ cmd: 'publish', topic, payload: '', qos: 0, dup: false, retain: true })
    }
    const digest = qos > 0 ? digestOf(topic, payload) : ''
    const known = qos > 0 ? held.get(id) : undefined
    if (packet.dup && known?.digest === digest) {
      if (known.done) acknowledge(id)
      return
    }
    if (qos > 0 && packet.dup && acknowledged.get(id) === digest) {
      held.set(id, { digest, done: true })
      acknowledge(id)
      return
    }
    if (qos > 0) acknowledged.delete(id)
    // Without MQTT 5 a subscription brings what was retained long ago; it was taken when it was new.
    if (version === 4 && packet.retain) {
      if (qos > 0) acknowledge(id)
      return
    }
    const message: Held = { digest, done: false }
    if (qos > 0) held.set(id, message)
    underWay += 1
    if (underWay >= maxHeld) stream?.pause()
    void handle(topic, payload).then((taken) => {
      underWay -= 1
      message.done = taken
      // Another message may have got the id, when the broker forgot the session.
      if (taken && qos > 0 && held.get(id) === message) acknowledge(id)
      readOn()
    })
  }

  const subscribe = () => {
    send({
      cmd: 'subscribe',
      messageId: 1,
      subscriptions: rules.map(({ filter }) => ({ topic: filter, qos: 1, rh: 2, rap: true, nl: false })),
    })
  }

  /** One connection, until it ends. @returns whether it was ever let in. */
  const connectOnce = () =>
    new Promise<{ wasConnected: boolean; reason: string }>((resolve) => {
      let wasConnected = false
      let reason = 'closed'
      let heardAt = performance.now()
      let opened: Duplex
      try {
        opened = openStream(url)
      } catch (error) {
        resolve({ wasConnected, reason: codeOf(error) })
        return
      }
      stream = opened
      const parser = mqttPacket.parser({ protocolVersion: version })
      const fail = (why: string) => {
        reason = why
        opened.destroy()
      }
      const late = setTimeout(() => fail('TIMEOUT'), connectMs)
      const ping = setInterval(() => {
        if (performance.now() - heardAt > keepAliveS * 1500) fail('TIMEOUT')
        else if (connected) send({ cmd: 'pingreq' })
      }, keepAliveS * 500)

      const onConnack = ({ reasonCode, returnCode, sessionPresent }: IConnackPacket) => {
        const code = reasonCode ?? returnCode ?? 0
        if (code !== 0) {
          // Unacceptable protocol version, in the words of either.
          if (version === 5 && (code === 0x84 || code === 1)) version = 4
          fail(`REFUSED_${code}`)
          return
        }
        clearTimeout(late)
        if (!sessionPresent) {
          for (const [id, { done }] of held) if (done) held.delete(id)
          acknowledged.clear()
        }
        wasConnected = true
        connected = true
        subscribe()
      }
      parser.on('packet', (packet: Packet) => {
        switch (packet.cmd) {
          case 'connack':
            onConnack(packet)
            break
          case 'publish':
            take(packet)
            break
          case 'suback': {
            const refused = packet.granted.some((granted) => Number(granted) >= 0x80)
            if (refused) fail('SUBSCRIPTION_REFUSED')
            else {
              log('info', 'connected to the broker', { mqtt_version: version === 5 ? '5' : '3.1.1' })
              onReady()
            }
            break
          }
          case 'pingresp':
            heard?.()
            break
          case 'disconnect':
            fail(`DISCONNECTED_${packet.reasonCode ?? 0}`)
            break
        }
      })
      parser.on('error', () => fail('MALFORMED_PACKET'))
      opened.on('data', (chunk: Buffer) => {
        heardAt = performance.now()
        parser.parse(chunk)
      })
      opened.on('error', (error) => {
        reason = codeOf(error)
      })
      opened.once('close', () => {
        clearTimeout(late)
        clearInterval(ping)
        connected = false
        resolve({ wasConnected, reason })
      })
      const start = () =>
        send({
          cmd: 'connect',
          protocolId: 'MQTT',
          protocolVersion: version,
          clean: false,
          clientId,
          keepalive: keepAliveS,
          username,
          password: Buffer.from(password),
          ...(version === 5
            ? { properties: { sessionExpiryInterval: forEver, receiveMaximum: Math.min(maxHeld, 65_535) } }
            : {}),
        } as Packet)
      const socket = opened as Partial<Socket>
      if (socket.connecting) opened.once(url.startsWith('mqtts:') ? 'secureConnect' : 'connect', start)
      else start()
    })

  const stay = async () => {
    let waitMs = first
    let told: string | undefined
    while (!closing) {
      const { wasConnected, reason } = await connectOnce()
      if (closing) return
      if (wasConnected) {
        waitMs = first
        told = undefined
      }
      if (told !== reason) log('warn', 'not connected to the broker, it is tried again', { reason })
      told = reason
      await pause(waitMs)
      waitMs = Math.min(waitMs * 2, longest)
    }
  }
  const staying = stay()

  return {
    ready,
    connected: () => connected,
    async close() {
      closing = true
      stream?.pause()
      if (underWay > 0)
        await within(closeMs, (resolve) => {
          idle = resolve
        })
      sendAcks()
      if (connected) {
        // What follows an answer to this, the broker has read: a new connection would cut off what it has not.
        stream?.resume()
        await within(answerMs, (resolve) => {
          heard = resolve
          send({ cmd: 'pingreq' })
        })
        send({ cmd: 'disconnect' })
      }
      stream?.end()
      setTimeout(() => stream?.destroy(), 200).unref()
      await Promise.race([staying, new Promise((resolve) => setTimeout(resolve, 500))])
    },
  }
}
