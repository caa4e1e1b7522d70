/** Listeners of the embedded broker: TCP, TLS and WebSocket, and the limits of connections that are not authenticated. */
import { createServer as createHttpServer, type IncomingMessage } from 'node:http'
import { type AddressInfo, createServer as createTcpServer, type Server, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { createServer as createTlsServer } from 'node:tls'
import { createWebSocketStream, WebSocketServer } from 'ws'
import type { AuthorizerEvent } from '../../../lib/mqtt/authorizer.ts'
import { backlog, listenFault } from '../../http.ts'
import {
  type BrokerLimits,
  type BrokerLog,
  type BrokerOptions,
  controlBytes,
  publishHeaderBytes,
  reasonOf,
  type TlsOptions,
} from './options.ts'
import { limitBytes } from './packet-guard.ts'

/** Subprotocols that clients offer for MQTT over WebSocket: of 3.1.1 and of 3.1. */
const subprotocols = ['mqtt', 'mqttv3.1']
/** Bytes of frame headers that a client may send beside its packets before it is authenticated. */
const frameHeaderBytes = 1024

/** The TCP connection of a client. */
export interface Peer {
  readonly socket: Socket
  /** Failed logins are counted for it: an IPv4 address, or the first 64 bits of an IPv6 address. */
  readonly address: string
  /** Time of the connection, ms since the epoch. */
  readonly since: number
  /** Ends the limits on connections that are not authenticated. */
  liftLimits: () => void
}

export interface TransportOptions {
  readonly broker: Pick<BrokerOptions, 'host' | 'port' | 'wsPort' | 'tls'>
  readonly limits: BrokerLimits
  /** True for addresses that are refused. */
  isRefused(address: string): boolean
  /** Takes over a stream of MQTT packets. */
  onStream(stream: Duplex, peer: Peer, protocols: NonNullable<AuthorizerEvent['protocols']>): void
  readonly log: BrokerLog
}

/** An IPv6 client owns its whole /64. */
const addressOf = (socket: Socket): string => {
  const address = (socket.remoteAddress ?? '').replace(/^::ffff:/, '')
  return address.includes(':') ? (address.split('::')[0] ?? '').split(':').slice(0, 4).join(':') : address
}

/** A TLS socket is another object than the TCP socket below it; addresses and ports are the same. */
const peerKey = ({ remoteAddress, remotePort, localPort }: Socket) =>
  `${remoteAddress} ${remotePort} ${localPort}`

const listen = (server: Server, setting: string, port: number, host: string): Promise<number> =>
  new Promise((resolve, reject) => {
    const fail = (error: NodeJS.ErrnoException) => reject(new Error(listenFault(error, setting, port, host)))
    server.once('error', fail)
    server.listen({ port, host, backlog }, () => {
      server.off('error', fail)
      resolve((server.address() as AddressInfo).port)
    })
  })

/** TCP connections of all transports. */
export class Peers {
  private readonly maxPending: number
  private readonly isRefused: (address: string) => boolean
  private readonly byKey = new Map<string, Peer>()
  /** Peers that are not authenticated, oldest first. */
  private readonly pending = new Set<Peer>()

  constructor(maxPending: number, isRefused: (address: string) => boolean) {
    this.maxPending = maxPending
    this.isRefused = isRefused
  }

  /** Accepts a connection; undefined, and the connection closed, when its address is refused. */
  accept(socket: Socket): Peer | undefined {
    const address = addressOf(socket)
    socket.on('error', () => socket.destroy())
    if (this.isRefused(address)) {
      socket.destroy()
      return undefined
    }
    socket.setNoDelay(true)
    socket.setKeepAlive(true, 60_000)
    const peer: Peer = { socket, address, since: Date.now(), liftLimits: () => {} }
    const key = peerKey(socket)
    this.byKey.set(key, peer)
    this.pending.add(peer)
    socket.once('close', () => {
      if (this.byKey.get(key) === peer) this.byKey.delete(key)
      this.pending.delete(peer)
    })
    // A real client is authenticated within milliseconds, so the oldest connection is the least likely to be one.
    const [oldest] = this.pending
    if (this.pending.size > this.maxPending) oldest?.socket.destroy()
    return peer
  }

  of(socket: Socket): Peer | undefined {
    return this.byKey.get(peerKey(socket))
  }

  authenticated(peer: Peer): void {
    this.pending.delete(peer)
    peer.liftLimits()
  }

  /** Closes connections that were not authenticated by this time, ms since the epoch. */
  closePendingSince(time: number): void {
    for (const { socket, since } of this.pending) {
      if (since > time) break
      socket.destroy()
    }
  }

  closeAll(): void {
    for (const { socket } of this.byKey.values()) socket.destroy()
  }
}

export class Transports {
  readonly peers: Peers
  readonly ports: { mqtt?: number; ws?: number; tls?: number } = {}
  private readonly options: TransportOptions
  private readonly servers: Server[] = []

  constructor(options: TransportOptions) {
    this.options = options
    this.peers = new Peers(options.limits.maxPending, options.isRefused)
  }

  /** @throws {Error} one sentence when a port is taken or the certificate cannot be used. */
  async open(): Promise<void> {
    const { broker, log } = this.options
    if (broker.port !== 'none') await this.openTcp(broker.port)
    if (broker.wsPort !== 'none') await this.openWebSocket(broker.wsPort)
    if (broker.tls) await this.openTls(broker.tls)
    for (const server of this.servers)
      server.on('error', (error) => log('error', 'mqtt listener failed', { error }))
  }

  /** Stops listening; resolves when every connection is closed. */
  async stopListening(): Promise<void> {
    await Promise.all(
      this.servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve()))),
    )
  }

  private async openTcp(port: number): Promise<void> {
    const server = createTcpServer((socket) => {
      const peer = this.peers.accept(socket)
      if (peer) this.options.onStream(socket, peer, ['mqtt'])
    })
    this.servers.push(server)
    this.ports.mqtt = await listen(server, 'MQTT_PORT', port, this.options.broker.host)
  }

  private async openTls({ port, cert, key }: TlsOptions): Promise<void> {
    const { broker, limits, log, onStream } = this.options
    let server: Server
    try {
      server = createTlsServer({ cert, key, handshakeTimeout: limits.connectTimeoutMs })
    } catch {
      throw new Error('TLS_CERT and TLS_KEY are no certificate and its key in PEM.')
    }
    server.on('connection', (socket: Socket) => this.peers.accept(socket))
    server.on('tlsClientError', (error: Error) =>
      log('debug', 'mqtt handshake failed', { reason: reasonOf(error) }),
    )
    server.on('secureConnection', (socket: Socket) => {
      const peer = this.peers.of(socket)
      if (peer) onStream(socket, peer, ['tls', 'mqtt'])
      else socket.destroy()
    })
    this.servers.push(server)
    this.ports.tls = await listen(server, 'MQTT_TLS_PORT', port, broker.host)
  }

  private async openWebSocket(port: number): Promise<void> {
    const { broker, limits } = this.options
    const webSockets = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: limits.maxPayloadBytes + publishHeaderBytes + controlBytes,
      handleProtocols: (offered) => subprotocols.find((name) => offered.has(name)) ?? false,
    })
    const server = createHttpServer(
      {
        headersTimeout: limits.connectTimeoutMs,
        requestTimeout: limits.connectTimeoutMs,
        maxHeaderSize: controlBytes,
      },
      (_request, response) => {
        response.writeHead(426, { Connection: 'close', Upgrade: 'websocket' }).end()
      },
    )
    server.on('connection', (socket) => this.peers.accept(socket))
    server.on('clientError', (_error, socket) => socket.destroy())
    server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) =>
      this.upgrade(webSockets, request, socket, head),
    )
    this.servers.push(server)
    this.ports.ws = await listen(server, 'MQTT_WS_PORT', port, broker.host)
  }

  private upgrade(webSockets: WebSocketServer, request: IncomingMessage, socket: Socket, head: Buffer): void {
    const { limits, log, onStream } = this.options
    const peer = this.peers.of(socket)
    const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim())
    if (peer === undefined || !subprotocols.some((name) => offered.includes(name))) {
      socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
      return
    }
    // The WebSocket receiver buffers a whole message before the packet guard sees a byte of it.
    const liftLimit = limitBytes(socket, limits.preConnectBytes + frameHeaderBytes, () => socket.destroy())
    peer.liftLimits = liftLimit
    webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      webSocket.on('error', (error) => log('debug', 'mqtt websocket error', { reason: reasonOf(error) }))
      onStream(createWebSocketStream(webSocket), peer, ['http', 'mqtt'])
    })
  }
}
